//! How sure a difference is when both seeds and test images could have been others.
//!
//! A t-interval over three seeds says what other seeds would give on these test images. Here both are drawn anew, with replacement and
//! independently of each other (the pigeonhole bootstrap, Owen, Annals of Applied Statistics 1.2, 2007), and the middle 95 % of the
//! differences is the interval. With few seeds it is too narrow, as every bootstrap: it stands beside the t-interval, not in its place.

use rayon::prelude::*;
use serde::Serialize;
use smalti_data::random::{Stage, Stream};

/// Draws.
const DRAWS: u32 = 2000;

/// An interval in percentage points.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// 2.5 % of the draws lie below.
    pub low: f64,
    /// 2.5 % of the draws lie above.
    pub high: f64,
}

/// Which test images one student got right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    bits: Vec<bool>,
}

impl Right {
    /// From one answer per test image.
    pub fn new(bits: Vec<bool>) -> Right {
        Right { bits }
    }

    /// As hexadecimal digits, four images each, the first in the highest bit.
    pub fn to_hex(&self) -> String {
        let digit = |four: &[bool]| {
            let value = (0..4).fold(0, |value, at| 2 * value + u32::from(four.get(at).copied().unwrap_or(false)));
            char::from_digit(value, 16).expect("four bits")
        };
        self.bits.chunks(4).map(digit).collect()
    }

    /// From hexadecimal digits of so many images; none where they are others.
    pub fn from_hex(digits: &str, images: usize) -> Option<Right> {
        if digits.len() != images.div_ceil(4) {
            return None;
        }
        let mut bits = Vec::with_capacity(4 * digits.len());
        for digit in digits.chars() {
            let value = digit.to_digit(16)?;
            bits.extend((0..4).rev().map(|bit| value >> bit & 1 == 1));
        }
        bits.truncate(images);
        Some(Right { bits })
    }
}

/// The interval of the mean difference between two methods, from pairs of students with one seed each, all measured on the same images. None
/// without a pair, without images, or with other numbers of images.
pub fn interval(pairs: &[(Right, Right)]) -> Option<Interval> {
    let images = pairs.first()?.0.bits.len();
    let same = |(ours, base): &(Right, Right)| ours.bits.len() == images && base.bits.len() == images;
    if images == 0 || !pairs.iter().all(same) {
        return None;
    }
    let difference = |(ours, base): &(Right, Right)| -> Vec<i8> {
        ours.bits.iter().zip(&base.bits).map(|(&a, &b)| i8::from(a) - i8::from(b)).collect()
    };
    let differences: Vec<Vec<i8>> = pairs.iter().map(difference).collect();
    let mut drawn: Vec<f64> = (0..DRAWS).into_par_iter().map(|draw| one(&differences, images, draw)).collect();
    drawn.sort_unstable_by(f64::total_cmp);
    let at = |part: f64| drawn[(part * f64::from(DRAWS - 1)).round() as usize];
    Some(Interval { low: at(0.025), high: at(0.975) })
}

/// The mean difference of one draw of seeds and images.
fn one(differences: &[Vec<i8>], images: usize, draw: u32) -> f64 {
    let mut stream = Stream::new(0, Stage::Bootstrap, draw, 0);
    let mut times = vec![0i64; differences.len()];
    differences.iter().for_each(|_| times[stream.below(differences.len() as u32) as usize] += 1);
    // A sum over seeds per image first, so that an image is looked up once.
    let mut sums = vec![0i64; images];
    for (difference, &times) in differences.iter().zip(&times).filter(|(_, times)| **times > 0) {
        sums.iter_mut().zip(difference).for_each(|(sum, &value)| *sum += times * i64::from(value));
    }
    let total: i64 = (0..images).map(|_| sums[stream.below(images as u32) as usize]).sum();
    100.0 * total as f64 / (images * differences.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(images: usize, is_right: impl Fn(usize) -> bool) -> Right {
        Right::new((0..images).map(is_right).collect())
    }

    #[test]
    fn answers_read_back_from_hexadecimal() {
        let answers = right(10, |at| at % 3 == 0);
        assert_eq!(answers.to_hex(), "924");
        assert_eq!(Right::from_hex("924", 10), Some(answers));
        assert!(Right::from_hex("924", 13).is_none() && Right::from_hex("9g4", 10).is_none());
    }

    #[test]
    fn known_answers() {
        // Always ten points apart on images that are all alike: no draw can differ.
        let all = right(40, |_| true);
        let none = right(40, |_| false);
        let pairs = vec![(all.clone(), none); 3];
        assert_eq!(interval(&pairs), Some(Interval { low: 100.0, high: 100.0 }));
        assert_eq!(interval(&vec![(all.clone(), all); 2]), Some(Interval { low: 0.0, high: 0.0 }));
        assert_eq!(interval(&[]), None);
    }

    /// One seed: the difference of each image is 1, 0 or -1 with parts 0.3, 0.6 and 0.1; its mean over n = 1,000 has a standard error of
    /// sqrt((0.4 - 0.2²) / n) = 1.897 points, hence an interval of 20 ± 3.72.
    #[test]
    fn with_one_seed_it_is_the_interval_over_images() {
        let ours = right(1000, |at| at % 10 < 3);
        let base = right(1000, |at| at % 10 == 9);
        let Interval { low, high } = interval(&[(ours, base)]).expect("a pair");
        assert!((low - 16.28).abs() < 0.4 && (high - 23.72).abs() < 0.4, "{low} {high}");
    }

    /// Two seeds that disagree by 20 points about every image alike: half of the draws take one of each, a quarter the same twice.
    #[test]
    fn seeds_that_disagree_widen_it() {
        let base = right(500, |_| false);
        let pairs = [(right(500, |at| at % 10 < 5), base.clone()), (right(500, |at| at % 10 < 3), base)];
        let Interval { low, high } = interval(&pairs).expect("pairs");
        assert!(low < 30.0 && high > 50.0 && low > 24.0 && high < 56.0, "{low} {high}");
    }
}
