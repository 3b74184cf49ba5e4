//! The one training loop. Proxies and students are its two observers.

use crate::augment::Augment;
use crate::batch::{Item, Normalise, Views};
use crate::engine::Engine;
use crate::error::{Error, Result, guard};
use crate::growth::Growth;
use crate::labels::Labels;
use crate::mix::Mix;
use crate::nets::{Mode, Network, Output};
use crate::optim::{Optimiser, OptimiserSpec, gradients};
use crate::schedule::{Length, Order, Rate, Schedule};
use smalti_data::store::ImageStore;
use std::time::Instant;
use tch::{Kind, Tensor};

/// Everything a run of the loop needs besides the network and the images.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainSpec {
    /// Name used in errors: `student random seed 1`.
    pub stage: String,
    /// Update rule with its peak learning rate.
    pub optimiser: OptimiserSpec,
    /// How the learning rate moves.
    pub rate: Rate,
    /// Images per step.
    pub batch: u32,
    /// How long.
    pub length: Length,
    /// How images are looked at.
    pub views: Views,
    /// The side of the views.
    pub growth: Growth,
    /// Whether the images of a step are mixed.
    pub mix: Mix,
    /// Constants of the input.
    pub normalise: Normalise,
    /// How often a step moves the running statistics.
    pub statistics: StatisticsUpdate,
    /// Key of the order of images.
    pub seed: u64,
}

/// How often a step moves the running statistics of batch norms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StatisticsUpdate {
    /// In the pass that the gradient comes from.
    #[default]
    Once,
    /// In a pass before it too.
    Twice,
}

impl StatisticsUpdate {
    /// Whether it is what every network does.
    pub fn is_plain(&self) -> bool {
        *self == StatisticsUpdate::Once
    }
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
    /// Mean loss.
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

/// Trains `network` on `store` in place, with the labels of the store or those given.
///
/// # Errors
/// [`Error::Diverged`] when the loss stops being a number; what the observer, the store or stored labels returned; [`Error::Input`] for an
/// empty store, a batch or length of 0, or images and labels that the network was not built for.
pub fn train(
    network: &Network,
    store: &ImageStore,
    labels: &mut Labels,
    spec: &TrainSpec,
    engine: &Engine,
    observer: &mut dyn Observer,
) -> Result<History> {
    check(store, spec)?;
    network.check_fits(store, &spec.stage)?;
    check_least(network, store, spec, engine)?;
    network.look_first(store, &spec.normalise, engine)?;
    spec.growth.check(network, store.size(), engine)?;
    let images = store.len() as u32;
    let schedule = spec.schedule(images);
    let mut order = Order::new(spec.seed, images);
    let mut optimiser = Optimiser::new(&spec.optimiser, network);
    let mut curve = Curve::new(schedule.steps);
    let mut history = History::default();
    let start = Instant::now();
    let mut draw = |labels: &mut Labels, number: u64| {
        let seen = labels.sight(store, &schedule.step(number), &mut order, spec)?;
        let images = seen.sight.images(store, &spec.normalise, engine)?;
        Ok::<_, Error>((seen, images))
    };
    let mut next = if schedule.steps > 0 { Some(draw(labels, 0)?) } else { None };
    while let Some((seen, images)) = next.take() {
        let number = history.steps;
        let step = schedule.step(number);
        if step.anew {
            optimiser = Optimiser::new(&spec.optimiser, network);
        }
        let sight = &seen.sight;
        if spec.statistics == StatisticsUpdate::Twice {
            tch::no_grad(|| network.forward(&images, Mode::Train));
        }
        let output = network.forward(&images, Mode::Train);
        let hard = sight.labels(store);
        let loss_tensor = labels.loss(&output.logits, (&images, &spec.normalise), &seen, &hard);
        let gradients = gradients(&loss_tensor, network);
        optimiser.step(network, &gradients, spec.optimiser.learning_rate() * step.rate);
        history.steps += 1;
        // A GPU is still at work on this step; its loss is waited for when the next images are on their way.
        if history.steps < schedule.steps {
            next = Some(draw(labels, history.steps)?);
        }
        let loss = loss_tensor.double_value(&[]);
        if !loss.is_finite() {
            return Err(Error::Diverged { stage: spec.stage.clone(), step: number, loss });
        }
        history.images_seen += sight.items.len() as u64;
        curve.add(history.images_seen, loss);
        observer.step(&Step { number, items: &sight.items, labels: &hard, output: &output, loss })?;
        if let Some(epoch) = step.ends_epoch {
            observer.epoch_end(epoch, network)?;
        }
    }
    // The loss of a step is that before its update.
    if !network.is_finite() {
        return Err(Error::Diverged {
            stage: spec.stage.clone(),
            step: history.steps.saturating_sub(1),
            loss: f64::NAN,
        });
    }
    history.seconds = start.elapsed().as_secs_f64();
    history.curve = curve.finish(history.images_seen);
    Ok(history)
}

/// What the loop cannot start with.
pub(crate) fn check(store: &ImageStore, spec: &TrainSpec) -> Result<()> {
    let nothing = |what: &str, hint: &str| Err(Error::input(format!("{} has {what}", spec.stage), hint));
    if store.is_empty() {
        return nothing("no images to train on", "give it a set with at least one image");
    }
    if spec.batch == 0 {
        return nothing("a batch of 0 images", "give it a --batch above 0");
    }
    if spec.length.epochs() == Some(0) || spec.length == Length::ImagesSeen(0) {
        return nothing("a length of 0", "give it epochs, or images to see, above 0");
    }
    if spec.views.augment == Augment::Shuffled && store.tiles().len() > 64 {
        return nothing("more than 8 x 8 tiles to rearrange", "use --augment constrained, or a smaller --grid");
    }
    Ok(())
}

/// That the network can take a step of one image where there will be one: some norms have no spread then, which is better found out before the first epoch
/// than at its end.
fn check_least(network: &Network, store: &ImageStore, spec: &TrainSpec, engine: &Engine) -> Result<()> {
    let schedule = spec.schedule(store.len() as u32);
    let first = schedule.steps_of_epoch().min(schedule.steps);
    if (0..first).all(|number| schedule.step(number).count != 1) {
        return Ok(());
    }
    // Another network of this kind, whose statistics nobody needs.
    let trial = Network::new(&network.name, network.shape, spec.seed, engine)?;
    let size = i64::from(network.shape.size);
    let image = Tensor::zeros([1, 3, size, size], (Kind::Float, engine.device));
    guard(&spec.stage, || {
        tch::no_grad(|| drop(trial.forward(&image, Mode::Train)));
        Ok(())
    })
}

impl TrainSpec {
    /// All steps on so many images.
    pub(crate) fn schedule(&self, images: u32) -> Schedule {
        Schedule::new(images, self.batch, self.length, self.rate)
    }
}

/// Steps a run will take.
pub fn step_count(images: usize, spec: &TrainSpec) -> u64 {
    spec.schedule(images as u32).steps
}

/// Images that the first steps of a run see.
pub fn views_of(images: usize, spec: &TrainSpec, steps: u64) -> u64 {
    let schedule = spec.schedule(images as u32);
    (0..steps.min(schedule.steps)).map(|number| u64::from(schedule.step(number).count)).sum()
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

    #[test]
    fn a_curve_covers_every_step_in_at_most_100_points() {
        let mut curve = Curve::new(101);
        (1..=101u64).for_each(|step| curve.add(step * 10, step as f64));
        let points = curve.finish(1010);
        assert_eq!((points.len(), points[0], points[50]), (51, (20, 1.5), (1010, 101.0)));
    }
}
