//! `smalti inspect`.

use super::{Done, Form, args, print, print_json};
use crate::inspect::{Findings, inspect};
use crate::report::words::{bytes, thousands};
use crate::sources::scan_with_progress;
use crate::ui::{Ui, count};
use anyhow::Result;
use smalti_data::source::Source;
use std::fmt::Write;

pub(super) const EXAMPLE: &str = "\
Example:
  smalti inspect photos
  smalti inspect train.parquet --json";

/// Rows shown of a long list; --json has all.
const SHOWN: usize = 10;

/// Letters of a class name that are shown: labels taken from a column of texts may be long.
const WIDEST: usize = 80;

pub(super) fn run(args: &args::Inspect, form: Form, ui: &Ui) -> Result<Done> {
    let source = Source::open(&args.source, &args.columns.options())?;
    let samples = scan_with_progress(&source, ui)?;
    let mut findings = inspect(&samples);
    findings.warnings.splice(0..0, source.notes().iter().cloned());
    match form {
        Form::Json => print_json(&findings)?,
        Form::Text => print(&text(&args.source.display().to_string(), source.kind(), &findings))?,
    }
    Ok(Done::skipping(findings.unreadable.len()))
}

fn text(place: &str, kind: &str, found: &Findings) -> String {
    let mut out = String::new();
    let (images, classes) = (count(found.images, "image"), count(found.classes.len() as u64, "class"));
    let _ = writeln!(out, "{place} ({kind}): {images} in {classes}, {}\n", bytes(found.bytes));
    let width = found.classes.iter().map(|c| c.name.chars().count()).max().unwrap_or(0).clamp(5, WIDEST);
    let _ = writeln!(out, "| {:width$} | {:>9} | {:>9} | {:>10} |", "class", "train", "test", "unreadable");
    let _ = writeln!(out, "|{:-<w$}|{:->11}|{:->11}|{:->12}|", "", ":", ":", ":", w = width + 2);
    for class in &found.classes {
        let (train, test, bad) = (thousands(class.train), thousands(class.test), thousands(class.unreadable));
        let _ = writeln!(out, "| {:width$} | {train:>9} | {test:>9} | {bad:>10} |", shown(&class.name));
    }
    if let Some(sizes) = &found.sizes {
        let _ = writeln!(
            out,
            "\nsizes: {} x {} to {} x {} px, typically {} x {}",
            sizes.smallest.0, sizes.smallest.1, sizes.largest.0, sizes.largest.1, sizes.median.0, sizes.median.1
        );
    }
    let _ = writeln!(out, "unreadable: {}", thousands(found.unreadable.len() as u64));
    list(&mut out, found.unreadable.iter().map(|bad| format!("{} ({})", bad.path, bad.cause)));
    let copies: u64 = found.duplicates.iter().map(|group| group.paths.len() as u64 - 1).sum();
    let _ = writeln!(out, "duplicates: {} with the same bytes as another", count(copies, "image"));
    list(&mut out, found.duplicates.iter().map(|group| group.paths.join(" = ")));
    for warning in &found.warnings {
        let _ = writeln!(out, "warning: {warning}");
    }
    out
}

/// A name as far as a line has room for it.
fn shown(name: &str) -> String {
    name.chars().take(WIDEST).collect()
}

fn list(out: &mut String, items: impl ExactSizeIterator<Item = String>) {
    let total = items.len();
    for item in items.take(SHOWN) {
        let _ = writeln!(out, "  {item}");
    }
    if total > SHOWN {
        let _ = writeln!(out, "  … and {} more (--json lists all)", total - SHOWN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smalti_data::tables::Samples;

    #[test]
    fn a_class_that_is_called_a_whole_text_is_cut_short() {
        let classes = vec!["long ".repeat(20_000), "short".to_owned()];
        let text = text("here", "parquet", &inspect(&Samples { classes, ..Samples::default() }));
        assert!(text.contains("| short ") && text.lines().all(|line| line.chars().count() < 150), "{}", text.len());
    }
}
