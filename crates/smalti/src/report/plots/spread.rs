//! Labels that would lie on one another are moved apart, as little as possible, and keep their order.

/// New places for labels that want to stand at `wanted`, at least `gap` apart and between `low` and `high`.
///
/// The sum of squared moves is the smallest possible (isotonic regression by pooling neighbours). Where they cannot all fit, the
/// gap shrinks.
pub fn spread(wanted: &[f64], gap: f64, low: f64, high: f64) -> Vec<f64> {
    let room = (high - low).max(0.0);
    let gap = if wanted.len() > 1 { gap.min(room / (wanted.len() - 1) as f64) } else { gap };
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
    // With the gaps taken out, "apart" becomes "not falling".
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    for (place, &at) in order.iter().enumerate() {
        let mut block = (wanted[at] - place as f64 * gap, 1);
        while let Some(&(sum, count)) = blocks.last()
            && sum / count as f64 > block.0 / block.1 as f64
        {
            block = (block.0 + sum, block.1 + count);
            blocks.pop();
        }
        blocks.push(block);
    }
    let last = low + (room - wanted.len().saturating_sub(1) as f64 * gap).max(0.0);
    let means = blocks.iter().flat_map(|&(sum, count)| std::iter::repeat_n(sum / count as f64, count));
    let mut places = vec![0.0; wanted.len()];
    for (place, (mean, &at)) in means.zip(&order).enumerate() {
        places[at] = mean.clamp(low, last) + place as f64 * gap;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_move_apart_and_no_further() {
        assert_eq!(spread(&[10.0, 50.0], 14.0, 0.0, 100.0), [10.0, 50.0]);
        assert_eq!(spread(&[50.0, 50.0], 14.0, 0.0, 100.0), [43.0, 57.0]);
        assert_eq!(spread(&[52.0, 50.0, 90.0], 10.0, 0.0, 100.0), [56.0, 46.0, 90.0]);
    }

    #[test]
    fn labels_stay_inside() {
        assert_eq!(spread(&[1.0, 2.0, 3.0], 10.0, 0.0, 100.0), [0.0, 10.0, 20.0]);
        assert_eq!(spread(&[99.0, 99.5], 10.0, 0.0, 100.0), [90.0, 100.0]);
        let crowd = spread(&[5.0; 11], 14.0, 0.0, 100.0);
        assert!(crowd.iter().all(|place| (0.0..=100.0).contains(place)), "{crowd:?}");
        assert!(spread(&[], 14.0, 0.0, 1.0).is_empty());
        assert_eq!(spread(&[7.0], 14.0, 0.0, 5.0), [5.0]);
    }

    #[test]
    fn order_and_gap_hold_for_any_wishes() {
        let wishes: Vec<f64> = (0..40u32).map(|i| f64::from(i.wrapping_mul(2_654_435_761) % 200)).collect();
        let mut pairs: Vec<(f64, f64)> = wishes.iter().copied().zip(spread(&wishes, 6.0, 0.0, 400.0)).collect();
        pairs.sort_by(|a, b| a.1.total_cmp(&b.1));
        assert!(pairs.windows(2).all(|pair| pair[1].1 - pair[0].1 >= 6.0 - 1e-9 && pair[0].0 <= pair[1].0));
    }
}
