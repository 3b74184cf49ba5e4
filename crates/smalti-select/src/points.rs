//! Points in feature space, and what coverage rules ask of them. All sums are 64-bit and in one order, so threads change nothing.

use matrixmultiply::dgemm;
use rayon::prelude::*;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Columns of distances computed at once by one thread: n × 64 numbers. Up to 1,024 columns take the same time, 3.4 to 3.7 s for two passes over
/// 5,000 points of 512 numbers on two cores.
const BLOCK: usize = 64;

/// Stale bounds that are computed anew together, blockwise. One by one and exactly they were five sixths of the time for 5,000 points of 512 random
/// numbers, whose gains are close together: each reads all points.
const REFRESHED: usize = 2 * BLOCK;

/// How far a gain from the blockwise product may lie below the exact one: distances there are differences of large numbers.
const SLACK: f64 = 1e-6;

/// Points, relative to their mean.
#[derive(Debug, Clone, Default)]
pub struct Points {
    width: usize,
    values: Vec<f64>,
    /// ‖x‖² of each.
    squares: Vec<f64>,
}

impl Points {
    /// Points of `width` numbers each, one after the other.
    pub(crate) fn new(width: usize, values: impl Iterator<Item = f32>) -> Points {
        let mut values: Vec<f64> = values.map(f64::from).collect();
        let mean = mean_of(&values, width);
        values.chunks_exact_mut(width.max(1)).for_each(|row| row.iter_mut().zip(&mean).for_each(|(x, m)| *x -= m));
        Points::centred(width, values)
    }

    fn centred(width: usize, values: Vec<f64>) -> Points {
        let squares = values.chunks_exact(width.max(1)).map(|row| row.iter().map(|x| x * x).sum()).collect();
        Points { width, values, squares }
    }

    /// Some of them.
    pub(crate) fn subset(&self, positions: &[u32]) -> Points {
        Points::centred(self.width, positions.iter().flat_map(|&at| self.row(at)).copied().collect())
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.squares.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.squares.is_empty()
    }

    pub(crate) fn row(&self, at: u32) -> &[f64] {
        &self.values[at as usize * self.width..][..self.width]
    }

    /// The mean, relative to what all are relative to.
    pub(crate) fn mean(&self) -> Vec<f64> {
        mean_of(&self.values, self.width)
    }

    /// The point nearest to `target` among those wanted, the first of equal ones.
    pub(crate) fn nearest(&self, target: &[f64], wanted: impl Fn(u32) -> bool + Sync) -> Option<u32> {
        let distances: Vec<f64> =
            self.values.par_chunks_exact(self.width.max(1)).map(|row| squared(row, target)).collect();
        let wanted = (0..self.len() as u32).filter(|&at| wanted(at));
        wanted.reduce(|best, other| if distances[other as usize] < distances[best as usize] { other } else { best })
    }

    /// Distance of each point to one of them.
    pub(crate) fn distances_from(&self, at: u32) -> Vec<f64> {
        let from = self.row(at);
        self.values.par_chunks_exact(self.width.max(1)).map(|row| squared(row, from).sqrt()).collect()
    }

    /// Facility location, greedily: the `count` points that lower Σ wᵢ · min over them of the distance to i the most, in the order in which
    /// they are found.
    pub(crate) fn representatives(&self, weights: &[f64], count: u32) -> Vec<u32> {
        let count = (count as usize).min(self.len());
        let all: Vec<u32> = (0..self.len() as u32).collect();
        let cost = self.for_each_column(&all, |column| column.iter().zip(weights).map(|(d, w)| w * d).sum());
        let cheaper = |best: u32, other: u32| if cost[other as usize] < cost[best as usize] { other } else { best };
        let Some(first) = all.iter().copied().reduce(cheaper).filter(|_| count > 0) else { return Vec::new() };
        let mut kept = vec![first];
        let mut nearest = self.distances_from(first);
        if count == 1 {
            return kept;
        }
        let gain = |column: &[f64], nearest: &[f64]| -> f64 {
            column.iter().zip(nearest).zip(weights).map(|((d, n), w)| w * (n - d).max(0.0)).sum()
        };
        let slack = SLACK * cost[first as usize].max(f64::MIN_POSITIVE);
        let blockwise = |points: &[u32], nearest: &[f64], kept: usize| -> Vec<Bound> {
            let gains = self.for_each_column(points, |column| gain(column, nearest));
            points
                .iter()
                .zip(gains)
                .map(|(&at, gain)| Bound { gain: gain + slack, at, known: Known::Above(kept) })
                .collect()
        };
        let others: Vec<u32> = all.into_iter().filter(|&at| at != first).collect();
        let mut heap = BinaryHeap::from(blockwise(&others, &nearest, 1));
        while kept.len() < count {
            // A gain never grows, so the largest is found once an exact one tops all bounds.
            let Some(top) = heap.pop() else { break };
            if top.known == Known::Exactly(kept.len()) {
                nearest.iter_mut().zip(self.distances_from(top.at)).for_each(|(n, d)| *n = n.min(d));
                kept.push(top.at);
            } else if top.known == Known::Above(kept.len()) {
                let gain = gain(&self.distances_from(top.at), &nearest);
                heap.push(Bound { gain, known: Known::Exactly(kept.len()), ..top });
            } else {
                let mut stale = vec![top.at];
                while stale.len() < REFRESHED
                    && let Some(next) = heap.peek()
                    && next.known.kept() < kept.len()
                {
                    stale.extend(heap.pop().map(|next| next.at));
                }
                heap.extend(blockwise(&stale, &nearest, kept.len()));
            }
        }
        kept
    }

    /// One number from the distances of each of `points` to all points, block by block and in parallel. Distances are √(‖x‖² + ‖y‖² − 2xy).
    fn for_each_column(&self, points: &[u32], number: impl Fn(&[f64]) -> f64 + Sync) -> Vec<f64> {
        let (count, width) = (self.len(), self.width);
        let of_block = |block: &[u32]| -> Vec<f64> {
            let columns = block.len();
            let rows: Vec<f64> = block.iter().flat_map(|&at| self.row(at)).copied().collect();
            let mut products = vec![0.0; columns * count];
            // SAFETY: the three matrices are columns × width, width × count and columns × count, as the strides say: `rows`, all rows of
            // `values` read as columns, and `products`, which nothing else sees.
            #[allow(unsafe_code, reason = "the library takes pointers and strides")]
            unsafe {
                dgemm(
                    columns,
                    width,
                    count,
                    1.0,
                    rows.as_ptr(),
                    width as isize,
                    1,
                    self.values.as_ptr(),
                    1,
                    width as isize,
                    0.0,
                    products.as_mut_ptr(),
                    count as isize,
                    1,
                );
            }
            products
                .chunks_exact_mut(count)
                .zip(block)
                .map(|(column, &at)| {
                    let square = self.squares[at as usize];
                    column.iter_mut().zip(&self.squares).for_each(|(product, other)| {
                        *product = (square + other - 2.0 * *product).max(0.0).sqrt();
                    });
                    number(column)
                })
                .collect()
        };
        points.par_chunks(BLOCK).map(of_block).collect::<Vec<_>>().concat()
    }
}

/// What adding a point gained when it was last computed.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bound {
    gain: f64,
    at: u32,
    known: Known,
}

/// How a gain is known, and how many points were kept then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// From the blockwise product, with the slack: not below the exact one.
    Above(usize),
    Exactly(usize),
}

impl Known {
    fn kept(self) -> usize {
        match self {
            Known::Above(kept) | Known::Exactly(kept) => kept,
        }
    }
}

impl Eq for Bound {}

impl Ord for Bound {
    fn cmp(&self, other: &Bound) -> Ordering {
        self.gain.total_cmp(&other.gain).then(other.at.cmp(&self.at))
    }
}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Bound) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn mean_of(values: &[f64], width: usize) -> Vec<f64> {
    let mut mean = vec![0.0; width];
    let rows = values.chunks_exact(width.max(1));
    let count = rows.len().max(1) as f64;
    rows.for_each(|row| mean.iter_mut().zip(row).for_each(|(m, x)| *m += x));
    mean.iter_mut().for_each(|m| *m /= count);
    mean
}

/// ‖a − b‖², in eight sums side by side, which the compiler puts into vector registers.
fn squared(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (whole_a, rest_a) = a.as_chunks::<8>();
    let (whole_b, rest_b) = b.as_chunks::<8>();
    for (x, y) in whole_a.iter().zip(whole_b) {
        for lane in 0..8 {
            let difference = x[lane] - y[lane];
            sums[lane] += difference * difference;
        }
    }
    sums.iter().sum::<f64>() + rest_a.iter().zip(rest_b).map(|(x, y)| (x - y) * (x - y)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use smalti_data::random::{Stage, Stream};

    fn cloud(count: usize, width: usize, seed: u64) -> Points {
        let mut stream = Stream::new(seed, Stage::Demo, 0, 0);
        Points::new(width, (0..count * width).map(|_| stream.between(-1.0, 1.0) as f32 + 30.0))
    }

    /// The same choice by its definition: every gain anew in every round.
    fn naive(points: &Points, weights: &[f64], count: usize) -> Vec<u32> {
        let mut nearest = vec![1e3; points.len()];
        let mut kept: Vec<u32> = Vec::new();
        while kept.len() < count {
            let gain = |at: u32| -> f64 {
                let column = points.distances_from(at);
                nearest.iter().zip(column).zip(weights).map(|((n, d), w)| w * (n - d).max(0.0)).sum()
            };
            let best = (0..points.len() as u32).filter(|at| !kept.contains(at)).map(|at| (gain(at), at));
            let best = best.reduce(|best, other| if other.0 > best.0 { other } else { best }).expect("a point").1;
            nearest.iter_mut().zip(points.distances_from(best)).for_each(|(n, d): (&mut f64, f64)| *n = n.min(d));
            kept.push(best);
        }
        kept
    }

    #[test]
    fn the_lazy_choice_is_the_greedy_one() {
        for seed in 0..6 {
            let points = cloud(150, 11, seed);
            let mut stream = Stream::new(seed, Stage::Demo, 1, 0);
            let weights: Vec<f64> = (0..150).map(|_| stream.between(0.1, 1.0)).collect();
            assert_eq!(points.representatives(&weights, 12), naive(&points, &weights, 12), "seed {seed}");
        }
    }

    #[test]
    fn the_lazy_choice_is_the_greedy_one_where_not_all_bounds_are_computed_anew_together() {
        let points = cloud(3 * REFRESHED, 5, 7);
        let weights = vec![1.0; points.len()];
        assert_eq!(points.representatives(&weights, 40), naive(&points, &weights, 40));
    }

    #[test]
    fn threads_change_nothing() {
        let points = cloud(3 * REFRESHED, 5, 7);
        let all: Vec<u32> = (0..points.len() as u32).collect();
        let on = |threads| {
            rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool").install(|| {
                let sums: Vec<f64> = points.for_each_column(&all, |column| column.iter().sum());
                let bits: Vec<u64> = sums.into_iter().map(f64::to_bits).collect();
                (points.representatives(&vec![1.0; points.len()], 40), bits)
            })
        };
        assert_eq!(on(1), on(3));
    }

    #[test]
    fn copies_and_all_of_the_points() {
        let points = Points::new(2, [0.0, 0.0, 0.0, 0.0, 5.0, 5.0, 5.0, 5.0].into_iter());
        assert_eq!(points.representatives(&[1.0; 4], 2), [0, 2]);
        let mut all = points.representatives(&[1.0; 4], 9);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3]);
        assert_eq!(Points::default().representatives(&[], 3), [] as [u32; 0]);
    }

    #[test]
    fn blockwise_distances_are_those_of_single_points() {
        let points = cloud(200, 19, 3);
        let all: Vec<u32> = (0..200).collect();
        let sums = points.for_each_column(&all, |column| column.iter().sum());
        for at in 0..200 {
            let exact: f64 = points.distances_from(at).iter().sum();
            assert!((sums[at as usize] - exact).abs() < 1e-9 * exact, "{at}");
        }
    }
}
