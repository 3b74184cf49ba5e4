//! `LABELS/epoch=E.parquet`: what a teacher said of every view of an epoch, so that training needs no teacher.
//!
//! One row per image of a step, one row group per step. Each row names its image, region, flip and partner, so nothing has to be drawn
//! again to find it; each file says for which set, teacher and views it was made. FKD (arXiv 2112.01528) stores the same without the image's
//! number.

use super::{batch, check, column, reading, schema, write_groups};
use crate::error::{Error, Result};
use crate::pixels::PixelBox;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, Float16Array, Float64Array, RecordBatch, UInt32Array,
    UInt64Array,
};
use arrow::datatypes::{DataType, Field, Float16Type, SchemaRef};
use half::f16;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What labels were made for; every file holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LabelHeader {
    /// Of this layout; 1.
    pub version: u32,
    /// Network and BLAKE3 of the teacher's weights.
    pub teacher: String,
    /// The classes of the logits, in their order.
    pub classes: Vec<String>,
    /// The hash of the images, as [`crate::write::source_hash`] of the set.
    pub set: String,
    /// Number of images of the set.
    pub images: u32,
    /// Side of the images in pixels.
    pub size: u32,
    /// How the images were decoded: the name of a profile. Labels of earlier versions do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoding: Option<String>,
    /// How the views were drawn, in words.
    pub views: String,
    /// Images per step.
    pub batch: u32,
    /// Steps of the whole training; labels of fewer steps are drawn from.
    pub steps: u64,
    /// Key of order, views and mixing.
    pub seed: u64,
}

const HEADER: &str = "smalti.labels";
const FIRST: &str = "smalti.first-step";
const VERSION: u32 = 1;

/// One step: its images in order, as the teacher saw them, and what it said.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LabelledStep {
    /// Number of the step in the training.
    pub number: u64,
    /// One per image.
    pub rows: Vec<LabelRow>,
    /// How the images were mixed, where they were.
    pub mixed: Option<LabelMix>,
    /// Logits, row after row, one number per class.
    pub logits: Vec<f16>,
}

/// One image of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelRow {
    /// Number in the set.
    pub image: u32,
    /// The pass over the set.
    pub epoch: u32,
    /// In which order its tiles lay; 0 as stored.
    pub arrangement: u32,
    /// The region that was resized.
    pub region: PixelBox,
    /// Whether it was mirrored.
    pub flipped: bool,
    /// Place in the step of the image it was mixed with; its own where nothing was mixed.
    pub partner: u32,
}

/// How a step was mixed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LabelMix {
    /// What was pasted from the partner; none where the two were averaged.
    pub region: Option<PixelBox>,
    /// The share of the image itself.
    pub own: f64,
}

impl LabelHeader {
    /// The version that is written.
    pub const VERSION: u32 = VERSION;
}

/// The file of an epoch.
pub fn epoch_path(dir: &Path, epoch: u32) -> PathBuf {
    dir.join(format!("epoch={epoch}.parquet"))
}

fn layout(header: &LabelHeader, first: u64) -> SchemaRef {
    let whole = |name| Field::new(name, DataType::UInt32, false);
    let logit = Arc::new(Field::new_list_field(DataType::Float16, false));
    let mut fields =
        vec![Field::new("step", DataType::UInt64, false), whole("image"), whole("epoch"), whole("arrangement")];
    fields.extend(["left", "top", "width", "height"].map(whole));
    fields.extend([Field::new("flipped", DataType::Boolean, false), whole("partner")]);
    fields.push(Field::new("own", DataType::Float64, true));
    fields.extend(
        ["mix_left", "mix_top", "mix_width", "mix_height"].map(|name| Field::new(name, DataType::UInt32, true)),
    );
    fields.push(Field::new("logits", DataType::FixedSizeList(logit, header.classes.len() as i32), false));
    let text = serde_json::to_string(header).expect("plain data");
    let plain = schema(fields);
    Arc::new(
        plain
            .as_ref()
            .clone()
            .with_metadata(HashMap::from([(HEADER.to_owned(), text), (FIRST.to_owned(), first.to_string())])),
    )
}

/// Writes the steps that begin in one epoch as they come, one in memory at a time; `first` is the number of the first. An epoch in which none
/// begins has no file.
///
/// # Errors
/// [`Error::Io`] with the path, and what `steps` gave.
pub fn write_epoch(
    dir: &Path,
    (epoch, first): (u32, u64),
    header: &LabelHeader,
    steps: impl Iterator<Item = Result<LabelledStep>>,
) -> Result<()> {
    let fields = layout(header, first);
    let batches = steps.map(|step| Ok(batch(fields.clone(), columns(&step?, header.classes.len()))));
    write_groups(&epoch_path(dir, epoch), fields.clone(), header.batch as usize, batches)
}

fn columns(step: &LabelledStep, classes: usize) -> Vec<ArrayRef> {
    let rows = &step.rows;
    let whole = |of: fn(&LabelRow) -> u32| Arc::new(UInt32Array::from_iter_values(rows.iter().map(of))) as ArrayRef;
    let mixed = |of: fn(PixelBox) -> u32| {
        let value = step.mixed.and_then(|mixed| mixed.region).map(of);
        Arc::new(UInt32Array::from(vec![value; rows.len()])) as ArrayRef
    };
    let item = Arc::new(Field::new_list_field(DataType::Float16, false));
    let logits = Arc::new(Float16Array::from(step.logits.clone()));
    vec![
        Arc::new(UInt64Array::from(vec![step.number; rows.len()])),
        whole(|r| r.image),
        whole(|r| r.epoch),
        whole(|r| r.arrangement),
        whole(|r| r.region.left),
        whole(|r| r.region.top),
        whole(|r| r.region.width),
        whole(|r| r.region.height),
        Arc::new(rows.iter().map(|r| Some(r.flipped)).collect::<BooleanArray>()),
        whole(|r| r.partner),
        Arc::new(Float64Array::from(vec![step.mixed.map(|mixed| mixed.own); rows.len()])),
        mixed(|b| b.left),
        mixed(|b| b.top),
        mixed(|b| b.width),
        mixed(|b| b.height),
        Arc::new(FixedSizeListArray::new(item, classes as i32, logits, None)),
    ]
}

/// Stored labels: the finished epochs of a folder.
#[derive(Debug)]
pub struct SoftLabels {
    /// What they were made for.
    pub header: LabelHeader,
    epochs: Vec<EpochFile>,
}

#[derive(Debug)]
struct EpochFile {
    path: PathBuf,
    /// Number of the first step in this file, counted over the files.
    first: u64,
    steps: u64,
}

impl SoftLabels {
    /// The epochs from 0 on.
    ///
    /// # Errors
    /// [`Error::Input`] when there are none, or one was made for something else than the first; [`Error::Io`] and [`Error::Table`] with the
    /// path.
    pub fn open(dir: &Path) -> Result<SoftLabels> {
        let mut labels: Option<SoftLabels> = None;
        let mut next = 0;
        for epoch in epochs_in(dir)? {
            let path = epoch_path(dir, epoch);
            let (header, first, steps) = footer(&path)?;
            let labels = labels.get_or_insert_with(|| SoftLabels { header: header.clone(), epochs: Vec::new() });
            let again = "remove the folder and make the labels again";
            if labels.header != header {
                let what = format!("`{}` was made for something else than the files beside it", path.display());
                return Err(Error::input(what, again));
            }
            if first != next {
                let what = format!("`{}` begins with step {first}, and step {next} is missing", path.display());
                return Err(Error::input(what, again));
            }
            labels.epochs.push(EpochFile { path, first, steps });
            next += steps;
        }
        labels.ok_or_else(|| {
            Error::input(format!("`{}` holds no soft labels", dir.display()), "make them with `smalti relabel`")
        })
    }

    /// Number of steps stored.
    pub fn steps(&self) -> u64 {
        self.epochs.last().map_or(0, |last| last.first + last.steps)
    }

    /// Steps in the file of an epoch.
    pub fn steps_of(&self, dir: &Path, epoch: u32) -> u64 {
        let path = epoch_path(dir, epoch);
        self.epochs.iter().find(|file| file.path == path).map_or(0, |file| file.steps)
    }

    /// Bytes of all files.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn bytes(&self) -> Result<u64> {
        let size = |file: &EpochFile| {
            std::fs::metadata(&file.path).map(|found| found.len()).map_err(Error::io("read", &file.path))
        };
        self.epochs.iter().map(size).sum()
    }

    /// A stored step, counted over the files.
    ///
    /// # Errors
    /// [`Error::Input`] beyond the last; [`Error::Io`] and [`Error::Table`] with the path, also for rows that cannot be.
    pub fn step(&self, number: u64) -> Result<LabelledStep> {
        let at = self.epochs.partition_point(|file| file.first + file.steps <= number);
        let file = self.epochs.get(at).ok_or_else(|| {
            Error::input(format!("there are no stored labels of step {number}"), "make the labels again")
        })?;
        let group = (number - file.first) as usize;
        let opened = File::open(&file.path).map_err(Error::io("read", &file.path))?;
        let table = reading(&file.path, || {
            let builder = ParquetRecordBatchReaderBuilder::try_new(opened)?;
            let rows = builder.metadata().row_group(group).num_rows() as usize;
            let mut reader = builder.with_row_groups(vec![group]).with_batch_size(rows.max(1)).build()?;
            reader.next().transpose().map_err(parquet::errors::ParquetError::from)
        })?;
        let table = table.ok_or_else(|| Error::table(&file.path, format!("its part {group} is empty")))?;
        self.read(&table, &file.path)
    }

    /// Whether the bytes of every file are those that were written.
    ///
    /// # Errors
    /// [`Error::Table`] naming the file.
    pub fn check(&self) -> Result<()> {
        self.epochs.iter().try_for_each(|file| check(&file.path))
    }

    fn read(&self, table: &RecordBatch, path: &Path) -> Result<LabelledStep> {
        let whole = |name: &str| column::<UInt32Array>(table, name, &DataType::UInt32, path);
        let steps: UInt64Array = column(table, "step", &DataType::UInt64, path)?;
        let flipped: BooleanArray = column(table, "flipped", &DataType::Boolean, path)?;
        let own: Float64Array = column(table, "own", &DataType::Float64, path)?;
        let boxes = |names: [&str; 4]| -> Result<[UInt32Array; 4]> {
            Ok([whole(names[0])?, whole(names[1])?, whole(names[2])?, whole(names[3])?])
        };
        let at = |boxes: &[UInt32Array; 4], row: usize| PixelBox {
            left: boxes[0].value(row),
            top: boxes[1].value(row),
            width: boxes[2].value(row),
            height: boxes[3].value(row),
        };
        let regions = boxes(["left", "top", "width", "height"])?;
        let mixes = boxes(["mix_left", "mix_top", "mix_width", "mix_height"])?;
        let (images, epochs, partners) = (whole("image")?, whole("epoch")?, whole("partner")?);
        let arrangements = whole("arrangement")?;
        let rows = (0..table.num_rows())
            .map(|row| LabelRow {
                image: images.value(row),
                epoch: epochs.value(row),
                arrangement: arrangements.value(row),
                region: at(&regions, row),
                flipped: flipped.value(row),
                partner: partners.value(row),
            })
            .collect();
        let mixed = (table.num_rows() > 0 && own.is_valid(0))
            .then(|| LabelMix { region: mixes[0].is_valid(0).then(|| at(&mixes, 0)), own: own.value(0) });
        let logits = table.column_by_name("logits").and_then(|column| column.as_fixed_size_list_opt());
        let logits = logits.and_then(|list| list.values().as_primitive_opt::<Float16Type>());
        let logits = logits.ok_or_else(|| Error::table(path, "it has no column `logits` of 16-bit numbers"))?;
        let step = LabelledStep {
            number: if steps.is_empty() { 0 } else { steps.value(0) },
            rows,
            mixed,
            logits: logits.values().to_vec(),
        };
        self.can_be(&step).map_err(|how| Error::table(path, format!("step {} {how}", step.number)))?;
        Ok(step)
    }

    fn can_be(&self, step: &LabelledStep) -> std::result::Result<(), &'static str> {
        let LabelHeader { images, size, classes, .. } = &self.header;
        let inside = |region: &PixelBox| {
            let end = |first: u32, side: u32| first.checked_add(side).is_some_and(|end| end <= *size);
            end(region.left, region.width) && end(region.top, region.height)
        };
        let whole = |region: &PixelBox| inside(region) && region.width > 0 && region.height > 0;
        match step {
            _ if step.rows.is_empty() => Err("has no images"),
            _ if step.rows.iter().any(|row| row.image >= *images) => Err("names an image that the set lacks"),
            _ if step.rows.iter().any(|row| row.partner as usize >= step.rows.len()) => {
                Err("names a partner beyond its batch")
            }
            _ if !step.rows.iter().all(|row| whole(&row.region)) => Err("has a region outside the image"),
            LabelledStep { mixed: Some(LabelMix { region: Some(region), .. }), .. } if !inside(region) => {
                Err("has a box outside the image")
            }
            _ if step.logits.len() != step.rows.len() * classes.len() => {
                Err("has another number of logits than of classes")
            }
            _ if !step.logits.iter().all(|logit| logit.is_finite()) => Err("has a logit that is no number"),
            _ => Ok(()),
        }
    }
}

/// The epochs that have a file, ascending.
fn epochs_in(dir: &Path) -> Result<Vec<u32>> {
    let wrong = || Error::io("read the folder", dir);
    let mut epochs = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(wrong())? {
        let name = entry.map_err(wrong())?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("epoch=")?.strip_suffix(".parquet"));
        epochs.extend(number.and_then(|number| number.parse::<u32>().ok()));
    }
    epochs.sort_unstable();
    Ok(epochs)
}

/// What a file was made for, its first step, and how many it holds.
fn footer(path: &Path) -> Result<(LabelHeader, u64, u64)> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let footer = reading(path, || ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()))?;
    let text = footer.schema().metadata().get(HEADER);
    let header: LabelHeader = text
        .and_then(|text| serde_json::from_str(text).ok())
        .ok_or_else(|| Error::table(path, "it does not say what its labels were made for"))?;
    if header.version != VERSION {
        return Err(Error::table(
            path,
            format!("its layout has version {}, and {VERSION} is read here", header.version),
        ));
    }
    let first = footer.schema().metadata().get(FIRST).and_then(|text| text.parse().ok());
    let first = first.ok_or_else(|| Error::table(path, "it does not say which step is its first"))?;
    Ok((header, first, footer.metadata().num_row_groups() as u64))
}

#[cfg(test)]
mod tests;
