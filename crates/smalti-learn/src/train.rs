//! The one training loop. Proxies and students are its two observers.

use crate::batch::{Item, Normalise, Views, label_tensor, training_batch};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::nets::{Mode, Network, Output};
use crate::optim::{Optimiser, OptimiserSpec, gradients};
use smalti_data::random::{Stage, Stream};
use smalti_data::store::ImageStore;
use std::time::Instant;

/// How long to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// Passes over the set; the short last batch of each is kept; the learning rate changes once per epoch.
    Epochs(u32),
    /// A total number of images, rounded down to full batches (at least one) that run across epochs; the learning rate changes every
    /// step.
    ImagesSeen(u64),
}

/// Everything a run of the loop needs besides the network and the images.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainSpec {
    /// Name used in errors: `student random seed 1`.
    pub stage: String,
    /// Update rule with its peak learning rate; the rate falls along half a cosine, without warm-up.
    pub optimiser: OptimiserSpec,
    /// Images per step.
    pub batch: u32,
    /// How long.
    pub length: Length,
    /// How images are looked at.
    pub views: Views,
    /// Constants of the input.
    pub normalise: Normalise,
    /// Key of the order of images.
    pub seed: u64,
}

/// One optimiser step, as shown to an observer.
pub struct Step<'a> {
    /// Number from 0.
    pub number: u64,
    /// The images of the step.
    pub items: &'a [Item],
    /// Their labels.
    pub labels: &'a [u32],
    /// The gradient's own forward pass.
    pub output: &'a Output,
    /// Mean cross-entropy in nats.
    pub loss: f64,
}

/// Watches the loop.
pub trait Observer {
    /// After each step.
    ///
    /// # Errors
    /// Any error ends the run.
    fn step(&mut self, step: &Step) -> Result<()>;

    /// After the last step of each epoch.
    ///
    /// # Errors
    /// Any error ends the run.
    fn epoch_end(&mut self, epoch: u32, network: &Network) -> Result<()>;
}

/// What the loop itself measured.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct History {
    /// Optimiser steps taken.
    pub steps: u64,
    /// Images seen, repeats counted.
    pub images_seen: u64,
    /// Wall-clock seconds of the loop, observers included.
    pub seconds: f64,
    /// (images seen, mean training loss since the point before), at most 100 points.
    pub curve: Vec<(u64, f64)>,
}

/// Trains `network` on `store` in place.
///
/// # Errors
/// [`Error::Diverged`] when the loss stops being a number; what the observer or the store returned; [`Error::Input`] for an empty
/// store, a batch or length of 0, or images and labels that the network was not built for.
pub fn train(
    network: &Network,
    store: &ImageStore,
    spec: &TrainSpec,
    engine: &Engine,
    observer: &mut dyn Observer,
) -> Result<History> {
    check(store, spec)?;
    network.check_fits(store, &spec.stage)?;
    let images = store.len() as u32;
    let schedule = Schedule::new(images, spec);
    let mut order = Order { seed: spec.seed, images, known: None };
    let mut optimiser = Optimiser::new(&spec.optimiser, network);
    let mut curve = Curve::new(schedule.steps);
    let mut history = History::default();
    let start = Instant::now();
    for number in 0..schedule.steps {
        let step = schedule.step(number);
        let items: Vec<Item> = (step.first..step.first + u64::from(step.count)).map(|at| order.item(at)).collect();
        let labels: Vec<u32> = items.iter().map(|item| store.label(item.index)).collect();
        let images = training_batch(store, &items, &spec.views, &spec.normalise, engine)?;
        let output = network.forward(&images, Mode::Train);
        let loss_tensor = output.logits.cross_entropy_for_logits(&label_tensor(&labels, engine.device));
        let loss = loss_tensor.double_value(&[]);
        if !loss.is_finite() {
            return Err(Error::Diverged { stage: spec.stage.clone(), step: number, loss });
        }
        let gradients = gradients(&loss_tensor, network);
        optimiser.step(network, &gradients, spec.optimiser.learning_rate() * step.rate);
        history.steps += 1;
        history.images_seen += items.len() as u64;
        curve.add(history.images_seen, loss);
        observer.step(&Step { number, items: &items, labels: &labels, output: &output, loss })?;
        if let Some(epoch) = step.ends_epoch {
            observer.epoch_end(epoch, network)?;
        }
    }
    history.seconds = start.elapsed().as_secs_f64();
    history.curve = curve.finish(history.images_seen);
    Ok(history)
}

/// What the loop cannot start with.
fn check(store: &ImageStore, spec: &TrainSpec) -> Result<()> {
    let nothing = |what: &str, hint: &str| Err(Error::input(format!("{} has {what}", spec.stage), hint));
    if store.is_empty() {
        return nothing("no images to train on", "give it a set with at least one image");
    }
    if spec.batch == 0 {
        return nothing("a batch of 0 images", "give it a --batch above 0");
    }
    if matches!(spec.length, Length::Epochs(0) | Length::ImagesSeen(0)) {
        return nothing("a length of 0", "give it epochs, or images to see, above 0");
    }
    Ok(())
}

/// Steps a run will take.
pub fn step_count(images: usize, spec: &TrainSpec) -> u64 {
    Schedule::new(images as u32, spec).steps
}

/// All steps of a run, computed when asked for.
struct Schedule {
    images: u64,
    batch: u64,
    length: Length,
    steps: u64,
}

/// A step before its images are looked up: positions in the endless sequence of shuffled epochs.
struct Planned {
    first: u64,
    count: u32,
    /// Factor on the peak learning rate.
    rate: f64,
    /// The epoch that is complete after this step.
    ends_epoch: Option<u32>,
}

impl Schedule {
    fn new(images: u32, spec: &TrainSpec) -> Schedule {
        let (images, batch) = (u64::from(images.max(1)), u64::from(spec.batch.max(1)));
        let steps = match spec.length {
            Length::Epochs(epochs) => u64::from(epochs) * images.div_ceil(batch),
            Length::ImagesSeen(seen) => (seen / batch).max(1),
        };
        Schedule { images, batch, length: spec.length, steps }
    }

    fn step(&self, number: u64) -> Planned {
        let Schedule { images, batch, steps, .. } = *self;
        let cosine = |progress: f64| 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        match self.length {
            Length::Epochs(epochs) => {
                let per_epoch = images.div_ceil(batch);
                let (epoch, from) = (number / per_epoch, number % per_epoch * batch);
                let count = batch.min(images - from) as u32;
                let ends_epoch = (from + u64::from(count) == images).then_some(epoch as u32);
                let rate = cosine(epoch as f64 / f64::from(epochs));
                Planned { first: epoch * images + from, count, rate, ends_epoch }
            }
            Length::ImagesSeen(_) => {
                let (first, end) = (number * batch, (number + 1) * batch);
                // Several short epochs may end inside one batch; observers hear of the last.
                let ends_epoch = (end / images > first / images).then(|| (end / images - 1) as u32);
                Planned { first, count: batch as u32, rate: cosine(number as f64 / steps as f64), ends_epoch }
            }
        }
    }
}

/// Which image stands where in the endless sequence of shuffled epochs.
struct Order {
    seed: u64,
    images: u32,
    /// The epoch looked at last.
    known: Option<(u32, Vec<u32>)>,
}

impl Order {
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

/// Averages the loss over at most 100 stretches of equal length.
struct Curve {
    stretch: u64,
    sum: f64,
    count: u64,
    points: Vec<(u64, f64)>,
}

impl Curve {
    fn new(steps: u64) -> Curve {
        Curve { stretch: steps.div_ceil(100).max(1), sum: 0.0, count: 0, points: Vec::new() }
    }

    fn add(&mut self, images_seen: u64, loss: f64) {
        self.sum += loss;
        self.count += 1;
        if self.count == self.stretch {
            self.end_stretch(images_seen);
        }
    }

    fn end_stretch(&mut self, images_seen: u64) {
        self.points.push((images_seen, self.sum / self.count as f64));
        (self.sum, self.count) = (0.0, 0);
    }

    /// The points, with the last stretch even if it is short.
    fn finish(mut self, images_seen: u64) -> Vec<(u64, f64)> {
        if self.count > 0 {
            self.end_stretch(images_seen);
        }
        self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::Augment;
    use crate::batch::IMAGENET;
    use smalti_data::crop::CropRange;

    fn spec(batch: u32, length: Length) -> TrainSpec {
        TrainSpec {
            stage: "test".into(),
            optimiser: OptimiserSpec::AdamW { learning_rate: 1e-3, weight_decay: 0.01 },
            batch,
            length,
            views: Views { augment: Augment::None, range: CropRange::default(), seed: 1 },
            normalise: IMAGENET,
            seed: 1,
        }
    }

    fn steps(images: u32, spec: &TrainSpec) -> Vec<Planned> {
        let schedule = Schedule::new(images, spec);
        (0..schedule.steps).map(|number| schedule.step(number)).collect()
    }

    #[test]
    fn epochs_keep_the_short_last_batch_and_change_the_rate_once() {
        let spec = spec(4, Length::Epochs(3));
        let steps = steps(10, &spec);
        assert_eq!(step_count(10, &spec), 9);
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
        let spec = spec(4, Length::ImagesSeen(31));
        let steps = steps(10, &spec);
        assert_eq!(steps.len(), 7);
        let mut order = Order { seed: spec.seed, images: 10, known: None };
        let items: Vec<Item> = (0..28).map(|at| order.item(at)).collect();
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
        let spec = spec(128, Length::Epochs(300));
        let schedule = Schedule::new(10_000, &spec);
        assert_eq!(schedule.steps, 23_700);
        for (epoch, expected) in [(0u64, 1.0), (1, 0.999_972_58), (150, 0.5), (299, 2.7415e-5)] {
            assert!((schedule.step(epoch * 79 + 78).rate - expected).abs() < 1e-8, "epoch {epoch}");
        }
    }

    #[test]
    fn a_curve_covers_every_step_in_at_most_100_points() {
        let mut curve = Curve::new(101);
        (1..=101u64).for_each(|step| curve.add(step * 10, step as f64));
        let points = curve.finish(1010);
        assert_eq!((points.len(), points[0], points[50]), (51, (20, 1.5), (1010, 101.0)));
    }
}
