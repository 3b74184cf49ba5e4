//! `smalti distill`.

use super::{Done, Form, args, print, print_json};
use crate::distill::list::distillation;
use crate::distill::{Follows, Order, Request, Tuning, distill};
use crate::pipeline::Overwrite;
use crate::report::words::{bytes, seconds};
use crate::ui::{Ui, count};
use anyhow::Result;
use serde_json::json;
use smalti_data::write::OutputFormat;

pub(super) const EXAMPLE: &str = "\
Example: the network whose statistics are matched, ten images per class, and a student that learns from them
  smalti train photos --test photos --student resnet18 --size 64 --protocol small --epochs 50 --seeds 1 --save teacher.safetensors
  smalti distill sre2l photos --ipc 10 --teacher teacher.safetensors --out photos-sre2l
  smalti train photos-sre2l --test photos --student resnet18 --protocol small-soft --teacher teacher.safetensors";

pub(super) fn run(args: &args::Distill, form: Form, ui: &Ui) -> Result<Done> {
    let request = Request {
        order: Order {
            method: distillation(&args.method)?,
            tuning: Tuning {
                iterations: args.iterations,
                block: args.block,
                follows: args.compat.then_some(Follows::Code),
                grid: args.grid,
                pool: args.pool,
                crops: args.crops,
            },
            ipc: args.ipc,
            size: args.size,
            seed: args.seed,
            format: args.format.map_or(OutputFormat::Folder, OutputFormat::from),
        },
        source: &args.source,
        options: args.columns.options(),
        teachers: args.teacher.files()?,
        out: &args.out,
        overwrite: if args.force { Overwrite::Replace } else { Overwrite::Refuse },
        machine: args.machine.settle(),
    };
    let made = distill(&request, ui)?;
    let manifest = &made.manifest;
    match form {
        Form::Json => print_json(&json!({
            "out": args.out,
            "method": args.method,
            "classes": manifest.classes.len(),
            "images": manifest.images.len(),
            "ipc": manifest.ipc,
            "grid": manifest.grid,
            "size": manifest.size,
            "seed": manifest.seed,
            "skipped": manifest.skipped,
            "image_bytes": manifest.image_bytes,
            "label_bytes": manifest.label_bytes,
            "seconds": made.seconds,
        }))?,
        Form::Text => print(&format!(
            "{}: {} of {} px by {}, {}, made in {}\n",
            args.out.display(),
            count(manifest.images.len() as u64, "image"),
            manifest.size,
            args.method,
            bytes(manifest.image_bytes),
            seconds(made.seconds)
        ))?,
    }
    Ok(Done::skipping(manifest.skipped.len()))
}
