//! The files of a trace: found, counted and checked before any query runs.

use crate::error::{Error, Result};
use crate::names::first_few;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;
use rayon::prelude::*;
use smalti_data::tables::trace::{seed_dir, trace_schema};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The files of one seed.
#[derive(Debug, Clone)]
pub(super) struct SeedFiles {
    /// The proxy's seed.
    pub seed: u64,
    /// (epoch, absolute path), in the order of the epochs.
    pub epochs: Vec<(u32, PathBuf)>,
    /// No sample is larger.
    pub last_sample: u32,
}

/// The files of these seeds, in their order.
///
/// # Errors
/// [`Error::Input`] for a seed without a folder, and for epochs that a seed lacks (they count from 0 to the last that any seed
/// has); [`smalti_data::Error`] for a folder or file that cannot be read or is no trace.
pub(super) fn find(trace: &Path, seeds: &[u64]) -> Result<Vec<SeedFiles>> {
    let missing: Vec<u64> = seeds.iter().copied().filter(|&seed| !seed_dir(trace, seed).is_dir()).collect();
    if !missing.is_empty() {
        let there = seeds_in(trace)?;
        let have = match there.is_empty() {
            true => "it holds no finished seed".to_owned(),
            false => format!("it holds the seeds {}", first_few(&there)),
        };
        return Err(Error::input(
            format!("the trace `{}` lacks the seeds {}", trace.display(), first_few(&missing)),
            format!("{have}; train the missing proxies, a run that was killed goes on from there"),
        ));
    }
    let mut found: Vec<SeedFiles> = seeds.iter().map(|&seed| of_seed(trace, seed)).collect::<Result<_>>()?;
    check_epochs(trace, &found)?;
    for seed in &mut found {
        // Each file is hashed whole: side by side, and the first wrong one is named.
        let checked: Vec<Result<u32>> = seed.epochs.par_iter().map(|(_, path)| check_footer(path)).collect();
        for last_sample in checked {
            seed.last_sample = seed.last_sample.max(last_sample?);
        }
    }
    Ok(found)
}

fn check_epochs(trace: &Path, found: &[SeedFiles]) -> Result<()> {
    // Files are sorted, so the last of each seed is its largest epoch.
    let end = found.iter().filter_map(|s| s.epochs.last()).map(|(epoch, _)| u64::from(*epoch) + 1).max().unwrap_or(0);
    for SeedFiles { seed, epochs, .. } in found {
        if epochs.is_empty() {
            return Err(Error::input(
                format!("seed {seed} of the trace `{}` has no epoch", trace.display()),
                "train that proxy again",
            ));
        }
        let there: BTreeSet<u64> = epochs.iter().map(|(epoch, _)| u64::from(*epoch)).collect();
        // Named up to a few: a stray file with a huge epoch must not fill the memory.
        let lacking: Vec<u64> = (0..end).filter(|epoch| !there.contains(epoch)).take(6).collect();
        if !lacking.is_empty() {
            return Err(Error::input(
                format!("seed {seed} of the trace `{}` lacks the epochs {}", trace.display(), first_few(&lacking)),
                "every seed records every epoch, from 0 on: train that proxy again",
            ));
        }
    }
    Ok(())
}

/// The finished seeds that lie in a trace, ascending; none where there is no trace yet.
fn seeds_in(trace: &Path) -> Result<Vec<u64>> {
    if !trace.is_dir() {
        return Ok(Vec::new());
    }
    let mut seeds: Vec<u64> =
        names_in(trace)?.iter().filter_map(|name| name.strip_prefix("seed=")?.parse().ok()).collect();
    seeds.sort_unstable();
    Ok(seeds)
}

fn of_seed(trace: &Path, seed: u64) -> Result<SeedFiles> {
    let dir = seed_dir(trace, seed);
    // The query engine wants paths from the root.
    let dir = dir.canonicalize().map_err(smalti_data::Error::io("read the folder", &dir))?;
    let epoch_of =
        |name: &String| -> Option<u32> { name.strip_prefix("epoch=")?.strip_suffix(".parquet")?.parse().ok() };
    let mut epochs: Vec<(u32, PathBuf)> =
        names_in(&dir)?.iter().filter_map(|name| Some((epoch_of(name)?, dir.join(name)))).collect();
    epochs.sort();
    if let Some(pair) = epochs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(Error::input(
            format!("`{}` and `{}` are the same epoch", pair[0].1.display(), pair[1].1.display()),
            "remove one of them",
        ));
    }
    Ok(SeedFiles { seed, epochs, last_sample: 0 })
}

/// Names in a folder that are text; others cannot be ours.
fn names_in(dir: &Path) -> Result<Vec<String>> {
    let wrong = || smalti_data::Error::io("read the folder", dir);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(wrong())? {
        names.extend(entry.map_err(wrong())?.file_name().into_string().ok());
    }
    Ok(names)
}

/// Opens a file as Parquet, looks for the trace's columns (the engine's own message would not name the file), and returns the largest sample
/// that it can hold: the largest of all where the footer does not say it.
fn check_footer(path: &Path) -> Result<u32> {
    smalti_data::tables::check(path)?;
    let file = File::open(path).map_err(smalti_data::Error::io("read", path))?;
    let footer = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())
        .map_err(|cause| smalti_data::Error::table(path, cause))?;
    let there = footer.schema();
    for field in trace_schema().fields() {
        match there.field_with_name(field.name()) {
            Err(_) => Err(smalti_data::Error::table(path, format!("it has no column `{}`", field.name())))?,
            Ok(found) if found.data_type() != field.data_type() => Err(smalti_data::Error::table(
                path,
                format!("its column `{}` holds {} and not {}", field.name(), found.data_type(), field.data_type()),
            ))?,
            Ok(_) => {}
        }
    }
    let at = there.fields().iter().position(|field| field.name() == "sample");
    let largest = |part: &RowGroupMetaData| match part.column(at?).statistics()? {
        // Parquet keeps unsigned numbers in the bits of signed ones.
        Statistics::Int32(of_part) => of_part.max_opt().map(|&bits| bits as u32),
        _ => None,
    };
    Ok(footer.metadata().row_groups().iter().map(|part| largest(part).unwrap_or(u32::MAX)).max().unwrap_or(0))
}
