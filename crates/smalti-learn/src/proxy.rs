//! Proxies: small networks trained on the full training set, whose opinion of every sample is recorded epoch by epoch.

use crate::batch::Views;
use crate::engine::Engine;
use crate::error::{Error, Result, guard};
use crate::inference::{at_once, for_each_batch, look};
use crate::labels::Labels;
use crate::measure::trace_rows;
use crate::nets::{Network, Shape};
use crate::train::{Observer, Step, TrainSpec, train};
use smalti_data::files;
use smalti_data::store::ImageStore;
use smalti_data::tables::features::{path_in, write_parts};
use smalti_data::tables::trace::{seed_dir, write_epoch};
use smalti_data::tables::{Features, Pass, TraceRow};
use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

/// How a proxy is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct ProxySpec {
    /// Network name.
    pub network: String,
    /// Its training, but for stage and seeds, which are the task's. Its length is in epochs.
    pub train: TrainSpec,
    /// Epochs (from 0) after which an eval pass is recorded.
    pub eval_epochs: Vec<u32>,
}

/// What a proxy leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    /// Its trace.
    Trace,
    /// Its trace, and the features of every sample after the last epoch.
    TraceAndFeatures,
}

/// One proxy to be trained.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// Key of weights, order and views.
    pub seed: u64,
    /// The folder of the traces.
    pub trace: &'a Path,
    /// What is wanted of it.
    pub leaves: Leaves,
}

/// What a finished proxy reports besides its trace.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ProxyReport {
    /// Key of weights, order and views.
    pub seed: u64,
    /// Percent of training samples right in the last eval pass, or in the last epoch's training views when there is none.
    pub train_top1_percent: f64,
    /// Wall-clock seconds, eval passes included.
    pub seconds: f64,
}

/// Trains one proxy on `store` and writes `trace/seed=S/epoch=E.parquet`, and `features.parquet` beside them where wanted. The seed's folder
/// appears when it is complete, and takes the place of one without features.
///
/// # Errors
/// What the loop and the writing returned; nothing is left behind but a `.partial` folder, which the next run replaces.
pub fn record(
    store: &ImageStore,
    classes: usize,
    spec: &ProxySpec,
    task: &Task,
    engine: &Engine,
    progress: &dyn Fn(u64),
) -> Result<ProxyReport> {
    let Task { seed, trace, leaves } = *task;
    let stage = format!("proxy {} seed {seed}", spec.network);
    let done = seed_dir(trace, seed);
    let partial = files::partial_of(&done);
    guard(&stage, || {
        if partial.exists() {
            std::fs::remove_dir_all(&partial).map_err(smalti_data::Error::io("clear", &partial))?;
        }
        let network = Network::new(&spec.network, Shape { classes, size: store.size() }, seed, engine)?;
        let views = Views { seed, ..spec.train.views };
        let plan = TrainSpec { stage: stage.clone(), seed, views, ..spec.train.clone() };
        let mut recorder = Recorder {
            store,
            spec,
            engine,
            stage: &stage,
            dir: &partial,
            rows: Vec::with_capacity(store.len()),
            before: HashMap::new(),
            last_correct: 0.0,
            evaluated: false,
            progress,
        };
        let history = train(&network, store, &mut Labels::Hard, &plan, engine, &mut recorder)?;
        let train_top1_percent = recorder.last_correct;
        let start = Instant::now();
        if leaves == Leaves::TraceAndFeatures {
            write_all_features(&path_in(&partial), &network, store, (spec, engine), &stage)?;
        }
        replace(&partial, &done)?;
        Ok(ProxyReport { seed, train_top1_percent, seconds: history.seconds + start.elapsed().as_secs_f64() })
    })
}

/// Puts a finished folder into its place; what was there is whole until then, and gone after.
fn replace(partial: &Path, done: &Path) -> Result<()> {
    let old = done.with_extension("old");
    let remove = |folder: &Path| match folder.exists() {
        true => std::fs::remove_dir_all(folder).map_err(smalti_data::Error::io("remove the folder", folder)),
        false => Ok(()),
    };
    remove(&old)?;
    if done.exists() {
        files::rename(done, &old)?;
    }
    files::rename(partial, done)?;
    Ok(remove(&old)?)
}

/// Writes the penultimate features of every image, in eval mode, without augmentation, class by class. After an error the file is not whole;
/// it lies in a folder that is not finished.
fn write_all_features(
    path: &Path,
    network: &Network,
    store: &ImageStore,
    with: (&ProxySpec, &Engine),
    stage: &str,
) -> Result<()> {
    let mut order: Vec<u32> = (0..store.len() as u32).collect();
    order.sort_unstable_by_key(|&i| (store.label(i), store.sample(i)));
    let mut failed = None;
    let parts = order.chunks(at_once(store.size())).map_while(|indices| {
        match features_of(indices, network, store, with, stage) {
            Ok(features) => Some(features),
            Err(error) => {
                failed = Some(error);
                None
            }
        }
    });
    let written = write_parts(path, parts);
    match failed {
        Some(error) => Err(error),
        None => Ok(written?),
    }
}

fn features_of(
    indices: &[u32],
    network: &Network,
    store: &ImageStore,
    (spec, engine): (&ProxySpec, &Engine),
    stage: &str,
) -> Result<Features> {
    let output = look(network, store, indices, &spec.train.normalise, engine)?;
    let features = output.features.to_kind(tch::Kind::Float).flatten(1, -1).contiguous().to_device(tch::Device::Cpu);
    let width = features.size()[1] as usize;
    let mut values = vec![0.0f32; indices.len() * width];
    features.copy_data(&mut values, indices.len() * width);
    if let Some(&value) = values.iter().find(|value| !value.is_finite()) {
        return Err(no_number(stage, "a feature after the last epoch", value));
    }
    let samples = indices.iter().map(|&i| store.sample(i)).collect();
    Ok(Features { samples, labels: indices.iter().map(|&i| store.label(i)).collect(), width, values })
}

/// A value of the trace that ran out of the range of numbers, though the loss of training did not.
fn no_number(stage: &str, what: &str, value: f32) -> Error {
    Error::input(
        format!("{stage}: {what} is {value}"),
        "choose another network or protocol for the proxies: --proxy, --proxy-protocol",
    )
}

/// Turns the loop's outputs into trace rows.
struct Recorder<'a> {
    store: &'a ImageStore,
    spec: &'a ProxySpec,
    engine: &'a Engine,
    stage: &'a str,
    dir: &'a Path,
    rows: Vec<TraceRow>,
    /// Whether a sample was right when its pass was last recorded.
    before: HashMap<(Pass, u32), bool>,
    last_correct: f64,
    /// Whether `last_correct` is of an eval pass.
    evaluated: bool,
    progress: &'a dyn Fn(u64),
}

impl Observer for Recorder<'_> {
    fn step(&mut self, step: &Step) -> Result<()> {
        let samples: Vec<u32> = step.items.iter().map(|item| self.store.sample(item.index)).collect();
        let output = step.output;
        self.rows.extend(trace_rows(
            &output.logits.detach(),
            &output.features.detach(),
            step.labels,
            &samples,
            Pass::Train,
        ));
        (self.progress)(samples.len() as u64);
        Ok(())
    }

    fn epoch_end(&mut self, epoch: u32, network: &Network) -> Result<()> {
        if self.spec.eval_epochs.contains(&epoch) {
            let Recorder { store, rows, engine, stage, spec, .. } = self;
            for_each_batch(network, store, &spec.train.normalise, engine, stage, |indices, output| {
                let labels: Vec<u32> = indices.iter().map(|&i| store.label(i)).collect();
                let samples: Vec<u32> = indices.iter().map(|&i| store.sample(i)).collect();
                rows.extend(trace_rows(&output.logits, &output.features, &labels, &samples, Pass::Eval));
                Ok(())
            })?;
        }
        let broken = |row: &TraceRow| [row.loss, row.grad_last].into_iter().find(|value| !value.is_finite());
        if let Some(value) = self.rows.iter().find_map(broken) {
            return Err(no_number(self.stage, &format!("a loss or gradient of epoch {epoch}"), value));
        }
        for row in &mut self.rows {
            row.was_correct = self.before.insert((row.pass, row.sample), row.correct);
        }
        let evaluated = self.spec.eval_epochs.contains(&epoch);
        // Views of training are easier or harder than the images: they count only until the images themselves are seen.
        if evaluated || !self.evaluated {
            let pass = if evaluated { Pass::Eval } else { Pass::Train };
            let right = self.rows.iter().filter(|r| r.pass == pass && r.correct).count();
            self.last_correct = 100.0 * right as f64 / self.store.len() as f64;
            self.evaluated = evaluated;
        }
        write_epoch(self.dir, epoch, &self.rows)?;
        self.rows.clear();
        Ok(())
    }
}
