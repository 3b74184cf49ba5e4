//! Penultimate features of the proxies, one class at a time: what coverage rules and distances to a class centre look at.
//!
//! A sample's features under several proxies stand side by side, so that squared distances add up over the proxies. Memory holds one class
//! of one call: 4 bytes × samples × width × proxies.

use crate::error::{Error, Result};
use crate::metrics::Centre;
use crate::names::first_few;
use smalti_data::tables::features::path_in;
use smalti_data::tables::trace::seed_dir;
use smalti_data::tables::{FeatureFile, Features};
use std::path::Path;

/// The features of some proxies.
#[derive(Debug)]
pub struct ClassFeatures {
    files: Vec<FeatureFile>,
}

impl ClassFeatures {
    /// Opens `trace/seed=S/features.parquet` of each seed.
    ///
    /// # Errors
    /// [`Error::Input`] when a seed has none; [`smalti_data::Error`] for files that do not read.
    pub fn open(trace: &Path, seeds: &[u64]) -> Result<ClassFeatures> {
        let mut seeds = seeds.to_vec();
        seeds.sort_unstable();
        seeds.dedup();
        let path = |seed: u64| path_in(&seed_dir(trace, seed));
        let missing: Vec<u64> = seeds.iter().copied().filter(|&seed| !path(seed).exists()).collect();
        if !missing.is_empty() || seeds.is_empty() {
            return Err(Error::input(
                format!("the trace `{}` has no features of the seeds {}", trace.display(), first_few(&missing)),
                "train those proxies again with a metric or a rule that needs features; given scores bring none",
            ));
        }
        let files = seeds.iter().map(|&seed| FeatureFile::open(&path(seed))).collect::<smalti_data::Result<_>>()?;
        Ok(ClassFeatures { files })
    }

    /// Features of one class under all proxies side by side, sorted by sample.
    ///
    /// # Errors
    /// [`Error::Input`] when the proxies saw different samples of the class; [`smalti_data::Error`] for a file that does not read.
    pub fn class(&self, class_id: u32) -> Result<Features> {
        let parts = self.files.iter().map(|file| file.class(class_id)).collect::<smalti_data::Result<Vec<_>>>()?;
        let samples = parts[0].samples.clone();
        if parts.iter().any(|part| part.samples != samples) {
            return Err(Error::input(
                format!("the proxies saw different images of class {class_id}"),
                "train all proxies on the same images",
            ));
        }
        let mut values = Vec::with_capacity(parts.iter().map(|part| part.values.len()).sum());
        for at in 0..samples.len() {
            parts.iter().for_each(|part| values.extend_from_slice(part.row(at)));
        }
        let width = parts.iter().map(|part| part.width).sum();
        Ok(Features { labels: vec![class_id; samples.len()], samples, width, values })
    }

    /// Mean over the proxies of each sample's distance to the centre of its class, sorted by sample.
    ///
    /// # Errors
    /// As [`ClassFeatures::class`].
    pub(crate) fn distances(&self, centre: Centre) -> Result<Vec<(u32, f32)>> {
        let mut sums: Vec<(u32, f64)> = Vec::new();
        for (number, file) in self.files.iter().enumerate() {
            let mut of_file = Vec::new();
            for label in 0..file.classes() {
                let features = file.class(label)?;
                let middle = centre_of(&features, centre);
                of_file.extend(
                    (0..features.samples.len()).map(|at| (features.samples[at], distance(features.row(at), &middle))),
                );
            }
            of_file.sort_unstable_by_key(|row| row.0);
            if number == 0 {
                sums = of_file;
                continue;
            }
            if !sums.iter().map(|row| row.0).eq(of_file.iter().map(|row| row.0)) {
                return Err(Error::input("the proxies saw different images", "train all proxies on the same images"));
            }
            sums.iter_mut().zip(of_file).for_each(|(sum, (_, more))| sum.1 += more);
        }
        Ok(sums.into_iter().map(|(sample, sum)| (sample, (sum / self.files.len() as f64) as f32)).collect())
    }
}

/// The centre of some features, coordinate by coordinate.
pub(crate) fn centre_of(features: &Features, centre: Centre) -> Vec<f64> {
    let count = features.samples.len();
    let mut column = vec![0.0f32; count];
    (0..features.width)
        .map(|at| {
            column.iter_mut().enumerate().for_each(|(row, value)| *value = features.row(row)[at]);
            match centre {
                Centre::Mean => column.iter().map(|&x| f64::from(x)).sum::<f64>() / count.max(1) as f64,
                Centre::Median => median(&mut column),
            }
        })
        .collect()
}

/// The middle value, or the mean of the two in the middle, as numpy does.
fn median(values: &mut [f32]) -> f64 {
    values.sort_unstable_by(f32::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => f64::from(values[n / 2]),
        n => f64::midpoint(f64::from(values[n / 2 - 1]), f64::from(values[n / 2])),
    }
}

fn distance(a: &[f32], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(&x, y)| (f64::from(x) - y).powi(2)).sum::<f64>().sqrt()
}
