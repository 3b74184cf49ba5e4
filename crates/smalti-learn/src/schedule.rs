//! How long to train, at which rate, and which image stands where.

use crate::batch::Item;
use smalti_data::random::{Stage, Stream};

/// How long to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// Passes over the set; the short last batch of each is kept; the learning rate changes once per epoch.
    Epochs(u32),
    /// The same passes, but the learning rate changes every step: for few of them.
    SmoothEpochs(u32),
    /// A total number of images, rounded down to full batches (at least one) that run across epochs; the learning rate changes every
    /// step.
    ImagesSeen(u64),
}

impl Length {
    /// The passes over the set, where it is given so.
    pub fn epochs(self) -> Option<u32> {
        match self {
            Length::Epochs(epochs) | Length::SmoothEpochs(epochs) => Some(epochs),
            Length::ImagesSeen(_) => None,
        }
    }
}

/// How the learning rate moves, as a factor on its peak at a part `t` of the training, 0 <= t < 1.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", tag = "name")]
pub enum Rate {
    /// Half a cosine to 0: (1 + cos πt) / 2.
    Cosine,
    /// The first half of that: (1 + cos πt/2) / 2, which ends at half of the peak.
    HalfCosine,
    /// From `start` in a straight line to the peak over a part `until` of the training, then half a cosine to 0 over the rest.
    WarmCosine {
        /// Factor at the beginning.
        start: f64,
        /// Where the peak is reached.
        until: f64,
    },
    /// Times `factor` at each of two moments, rounded down to whole epochs (steps, where the length is in images).
    Steps {
        /// Parts of the training.
        at: (f64, f64),
        /// What the rate is multiplied with.
        factor: f64,
    },
    /// Times `factor` at one moment, rounded down, where the optimiser starts anew: its momentum is forgotten.
    Anew {
        /// Part of the training.
        at: f64,
        /// What the rate is multiplied with.
        factor: f64,
    },
    /// In a straight line to 0.
    Linear,
    /// As it begins.
    Constant,
}

impl Rate {
    /// The factor after `done` of `all` epochs or steps.
    pub fn at(self, done: u64, all: u64) -> f64 {
        let part = done as f64 / all as f64;
        let cosine = |part: f64| 0.5 * (1.0 + (std::f64::consts::PI * part).cos());
        match self {
            Rate::Cosine => cosine(part),
            Rate::HalfCosine => cosine(0.5 * part),
            Rate::WarmCosine { start, until } if part < until => start + (1.0 - start) * part / until,
            Rate::WarmCosine { until, .. } => cosine((part - until) / (1.0 - until)),
            Rate::Steps { at: (first, second), factor } => {
                let passed = i32::from(done >= moment(first, all)) + i32::from(done >= moment(second, all));
                factor.powi(passed)
            }
            Rate::Anew { at, factor } => factor.powi(i32::from(done >= moment(at, all))),
            Rate::Linear => 1.0 - part,
            Rate::Constant => 1.0,
        }
    }

    /// Whether the optimiser starts anew after `done` of `all` epochs or steps.
    fn begins_anew(self, done: u64, all: u64) -> bool {
        matches!(self, Rate::Anew { at, .. } if done == moment(at, all))
    }

    /// In words.
    pub fn describe(self) -> String {
        let percent = |part: f64| format!("{:.0} %", 100.0 * part);
        match self {
            Rate::Cosine => "half a cosine to 0, no warm-up".to_owned(),
            Rate::HalfCosine => "the first half of a cosine, which ends at half of the peak; no warm-up".to_owned(),
            Rate::WarmCosine { start, until } => {
                format!(
                    "warm-up from {} of the peak over the first {}, then half a cosine to 0",
                    percent(start),
                    percent(until)
                )
            }
            Rate::Anew { at, factor } => format!("times {factor} at {}, where the momentum starts anew", percent(at)),
            Rate::Steps { at: (first, second), factor } => {
                format!("times {factor} at {} and at {}", percent(first), percent(second))
            }
            Rate::Linear => "in a straight line to 0, no warm-up".to_owned(),
            Rate::Constant => "the same from the first to the last".to_owned(),
        }
    }
}

/// The epoch or step of a part of the training. 2/3 of 1,500 epochs are 1,000, whatever the last bit says.
fn moment(part: f64, all: u64) -> u64 {
    (part * all as f64 + 1e-6) as u64
}

/// All steps of a run, computed when asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    images: u64,
    batch: u64,
    length: Length,
    rate: Rate,
    /// How many there are.
    pub steps: u64,
}

/// A step before its images are looked up: positions in the endless sequence of shuffled epochs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planned {
    pub number: u64,
    pub first: u64,
    pub count: u32,
    /// Part of all steps that lies before it.
    pub done: f64,
    /// Factor on the peak learning rate.
    pub rate: f64,
    /// Whether the optimiser forgets what it saw before this step.
    pub anew: bool,
    /// The epoch that is complete after this step.
    pub ends_epoch: Option<u32>,
}

impl Schedule {
    pub fn new(images: u32, batch: u32, length: Length, rate: Rate) -> Schedule {
        let (images, batch) = (u64::from(images.max(1)), u64::from(batch.max(1)));
        let steps = match length {
            Length::Epochs(epochs) | Length::SmoothEpochs(epochs) => u64::from(epochs) * images.div_ceil(batch),
            Length::ImagesSeen(seen) => (seen / batch).max(1),
        };
        Schedule { images, batch, length, rate, steps }
    }

    /// Steps after which their lengths repeat.
    pub fn steps_of_epoch(&self) -> u64 {
        self.images.div_ceil(self.batch)
    }

    pub fn step(&self, number: u64) -> Planned {
        let Schedule { images, batch, steps, .. } = *self;
        let done = number as f64 / steps as f64;
        match self.length {
            Length::Epochs(epochs) | Length::SmoothEpochs(epochs) => {
                let per_epoch = self.steps_of_epoch();
                let (epoch, from) = (number / per_epoch, number % per_epoch * batch);
                let count = batch.min(images - from) as u32;
                let ends_epoch = (from + u64::from(count) == images).then_some(epoch as u32);
                let rate = match self.length {
                    Length::SmoothEpochs(_) => self.rate.at(number, steps),
                    _ => self.rate.at(epoch, u64::from(epochs)),
                };
                let anew = from == 0 && self.rate.begins_anew(epoch, u64::from(epochs));
                Planned { number, first: epoch * images + from, count, done, rate, anew, ends_epoch }
            }
            Length::ImagesSeen(_) => {
                let (first, end) = (number * batch, (number + 1) * batch);
                // Several short epochs may end inside one batch; observers hear of the last.
                let ends_epoch = (end / images > first / images).then(|| (end / images - 1) as u32);
                let rate = self.rate.at(number, steps);
                let anew = self.rate.begins_anew(number, steps);
                Planned { number, first, count: batch as u32, done, rate, anew, ends_epoch }
            }
        }
    }
}

/// Which image stands where in the endless sequence of shuffled epochs.
#[derive(Debug)]
pub(crate) struct Order {
    seed: u64,
    images: u32,
    /// The epoch looked at last.
    known: Option<(u32, Vec<u32>)>,
}

impl Order {
    pub fn new(seed: u64, images: u32) -> Order {
        Order { seed, images, known: None }
    }

    /// The images of a step.
    pub fn items(&mut self, step: &Planned) -> Vec<Item> {
        (step.first..step.first + u64::from(step.count)).map(|at| self.item(at)).collect()
    }

    fn item(&mut self, position: u64) -> Item {
        let (seed, images) = (self.seed, self.images);
        let epoch = (position / u64::from(images)) as u32;
        if self.known.as_ref().is_some_and(|(known, _)| *known != epoch) {
            self.known = None;
        }
        let (_, order) = self.known.get_or_insert_with(|| {
            let mut order: Vec<u32> = (0..images).collect();
            Stream::new(seed, Stage::Order, epoch, 0).shuffle(&mut order);
            (epoch, order)
        });
        Item { index: order[(position % u64::from(images)) as usize], epoch }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(images: u32, batch: u32, length: Length) -> Vec<Planned> {
        let schedule = Schedule::new(images, batch, length, Rate::Cosine);
        (0..schedule.steps).map(|number| schedule.step(number)).collect()
    }

    #[test]
    fn epochs_keep_the_short_last_batch_and_change_the_rate_once() {
        let steps = steps(10, 4, Length::Epochs(3));
        assert_eq!(steps.len(), 9);
        assert_eq!(steps.iter().map(|s| s.count).collect::<Vec<_>>(), [4, 4, 2, 4, 4, 2, 4, 4, 2]);
        assert_eq!(steps.iter().map(|s| s.first).collect::<Vec<_>>(), [0, 4, 8, 10, 14, 18, 20, 24, 28]);
        let rates: Vec<f64> = steps.iter().map(|s| s.rate).collect();
        // 0.5 * (1 + cos(pi * e / 3)) for e = 0, 1, 2.
        for (rate, expected) in rates.iter().zip([1.0, 1.0, 1.0, 0.75, 0.75, 0.75, 0.25, 0.25, 0.25]) {
            assert!((rate - expected).abs() < 1e-12, "{rates:?}");
        }
        assert_eq!(steps.iter().filter_map(|s| s.ends_epoch).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn images_seen_runs_full_batches_across_epochs_and_sees_each_image_once_per_epoch() {
        let steps = steps(10, 4, Length::ImagesSeen(31));
        assert_eq!(steps.len(), 7);
        let mut order = Order::new(1, 10);
        let items: Vec<Item> = steps.iter().flat_map(|step| order.items(step)).collect();
        assert_eq!(
            steps.iter().map(|s| (s.first, s.count)).collect::<Vec<_>>(),
            [0, 4, 8, 12, 16, 20, 24].map(|f| (f, 4))
        );
        for epoch in 0..2 {
            let mut seen: Vec<u32> = items.iter().filter(|i| i.epoch == epoch).map(|i| i.index).collect();
            assert_ne!(seen, (0..10).collect::<Vec<_>>(), "shuffled");
            seen.sort_unstable();
            assert_eq!(seen, (0..10).collect::<Vec<_>>());
        }
        assert_eq!(steps.iter().filter_map(|s| s.ends_epoch).collect::<Vec<_>>(), [0, 1]);
    }

    /// Cosine(300) of the published protocol: 0.5 at epoch 150, 2.7415e-5 at the last.
    #[test]
    fn the_published_rates_come_out() {
        let schedule = Schedule::new(10_000, 128, Length::Epochs(300), Rate::Cosine);
        assert_eq!(schedule.steps, 23_700);
        let smooth = Schedule::new(10, 4, Length::SmoothEpochs(2), Rate::Linear);
        let rates: Vec<f64> = (0..smooth.steps).map(|number| 6.0 * smooth.step(number).rate).collect();
        assert!(rates.iter().zip([6.0, 5.0, 4.0, 3.0, 2.0, 1.0]).all(|(a, b)| (a - b).abs() < 1e-12), "{rates:?}");
        for (epoch, expected) in [(0u64, 1.0), (1, 0.999_972_58), (150, 0.5), (299, 2.7415e-5)] {
            assert!((schedule.step(epoch * 79 + 78).rate - expected).abs() < 1e-8, "epoch {epoch}");
        }
    }

    #[test]
    fn every_rate_starts_and_ends_where_it_says() {
        // RDED's: 0.5026 at epoch 299 of 300.
        assert!((Rate::HalfCosine.at(299, 300) - 0.5026).abs() < 5e-5);
        // 100 epochs, five of them from a hundredth of the peak.
        let warm = Rate::WarmCosine { start: 0.01, until: 0.05 };
        assert_eq!((warm.at(0, 100), warm.at(5, 100)), (0.01, 1.0));
        assert!((warm.at(525, 1000) - 0.5).abs() < 1e-12);
        let once = Rate::Anew { at: 0.5, factor: 0.1 };
        assert_eq!((once.at(49, 100), once.at(50, 100), once.at(90, 100)), (1.0, 0.1, 0.1));
        let twice = Rate::Steps { at: (2.0 / 3.0, 5.0 / 6.0), factor: 0.2 };
        assert_eq!((twice.at(1332, 2000), twice.at(1333, 2000)), (1.0, 0.2));
        assert!((twice.at(1666, 2000) - 0.04).abs() < 1e-12);
        assert_eq!(Rate::Linear.at(3, 4), 0.25);
        let schedule = Schedule::new(10, 4, Length::Epochs(5), once);
        let anew: Vec<u64> = (0..schedule.steps).filter(|&number| schedule.step(number).anew).collect();
        assert_eq!(anew, [6], "the first step of epoch 2 of 5, of three steps each");
    }
}
