//! Random numbers keyed by (seed, stage, epoch, sample), so that a draw never depends on threads, workers or shards.
//!
//! Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a block cipher of a
//! counter, so stream number ten million costs no more than the first.

/// What a draw is for. Two stages never share a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Stage {
    /// The hold-out part taken from the training data.
    Holdout = 1,
    /// The random rule, and random tie-breaks.
    Select = 2,
    /// Which samples share a mosaic.
    Mosaic = 3,
    /// Initial weights.
    Init = 4,
    /// The order of samples in an epoch.
    Order = 5,
    /// Crops and flips.
    Augment = 6,
    /// The demonstration images.
    Demo = 7,
    /// Resampling for intervals.
    Bootstrap = 8,
    /// The order of samples in tar files.
    Shard = 9,
    /// Which images are mixed, and how much.
    Mix = 10,
    /// What dropout and stochastic depth leave out; the epoch is the number of the forward pass.
    Drop = 11,
    /// Which stored soft labels an epoch takes.
    Labels = 12,
    /// Colours, holes and turns of views; an epoch of u32::MAX keys what a step draws once.
    Distort = 13,
    /// The first pixels of distilled images (epoch 0), how each iteration looks at them (its number from 1), and the training images that
    /// they start from (u32::MAX).
    Recover = 14,
    /// The training images that crops are taken from (epoch u32::MAX, keyed by class), and their crops (its number, keyed by row).
    Crops = 15,
    /// The order of the training images whose statistics are measured (epoch 0), and how each of them is looked at (1, keyed by index).
    Measure = 16,
    /// The layers that an iteration of recover leaves out.
    Skip = 17,
    /// The seed of the initial weights of a student that learns from a teacher.
    SoftStudent = 18,
}

/// One stream of random numbers.
#[derive(Debug, Clone)]
pub struct Stream {
    key: [u32; 2],
    counter: [u32; 4],
    block: [u32; 4],
    used: usize,
}

impl Stream {
    /// The stream for one `seed`, stage, `epoch` and `sample`.
    pub fn new(seed: u64, stage: Stage, epoch: u32, sample: u64) -> Stream {
        // The stage goes into the key with an odd multiplier, so that neighbouring seeds and stages do not collide.
        let key = seed ^ (stage as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Stream { key: [low(key), high(key)], counter: [0, epoch, low(sample), high(sample)], block: [0; 4], used: 4 }
    }

    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox(self.counter, self.key);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        u64::from(self.next_u32()) << 32 | u64::from(self.next_u32())
    }

    /// A number in [0, 1) with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number in [`low`, `high`).
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// A whole number in 0..`bound`, without bias. `bound` must not be 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        assert!(bound > 0, "an empty range has no member");
        // Lemire's method: accept unless the low half falls into the short first slice.
        loop {
            let product = u64::from(self.next_u32()) * u64::from(bound);
            if low(product) >= bound.wrapping_neg() % bound {
                return high(product);
            }
        }
    }

    /// A standard normal number (Box and Muller's transform).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Puts `items` into random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let bound = u32::try_from(last + 1).expect("fewer than 2^32 items");
            items.swap(last, self.below(bound) as usize);
        }
    }
}

fn low(x: u64) -> u32 {
    (x & 0xFFFF_FFFF) as u32
}

fn high(x: u64) -> u32 {
    (x >> 32) as u32
}

/// Ten rounds of Philox 4x32.
fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let (mut c, mut k) = (counter, key);
    for _ in 0..10 {
        let first = u64::from(c[0]) * 0xD251_1F53;
        let second = u64::from(c[2]) * 0xCD9E_8D57;
        c = [high(second) ^ c[1] ^ k[0], low(second), high(first) ^ c[3] ^ k[1], low(first)];
        k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers published with Random123 (`kat_vectors`, philox4x32 10).
    #[test]
    fn philox_gives_the_published_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn streams_differ_in_every_part_of_their_key() {
        let first = |seed, stage, epoch, sample| Stream::new(seed, stage, epoch, sample).next_u64();
        let base = first(1, Stage::Init, 0, 0);
        assert_eq!(base, first(1, Stage::Init, 0, 0));
        for other in [
            first(2, Stage::Init, 0, 0),
            first(1, Stage::Order, 0, 0),
            first(1, Stage::Init, 1, 0),
            first(1, Stage::Init, 0, 1),
            first(1, Stage::Init, 0, 1 << 32),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn moments_and_ranges_are_right() {
        let mut stream = Stream::new(7, Stage::Init, 0, 0);
        let n = 100_000;
        let normal: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
        let mean = normal.iter().sum::<f64>() / f64::from(n);
        let variance = normal.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
        // Five standard errors of the mean (0.0032) and of the variance (0.0045).
        assert!(mean.abs() < 0.016 && (variance - 1.0).abs() < 0.023, "{mean} {variance}");
        let mut counts = [0u32; 7];
        for _ in 0..n {
            counts[stream.below(7) as usize] += 1;
            assert!((0.0..1.0).contains(&stream.uniform()));
        }
        // Chi-squared with 6 degrees of freedom: 22.5 is exceeded once in a thousand seeds.
        let expected = f64::from(n) / 7.0;
        let chi: f64 = counts.iter().map(|&c| (f64::from(c) - expected).powi(2) / expected).sum();
        assert!(chi < 22.5, "{counts:?}");
    }
}
