//! `smalti cache`.

use super::{Done, Form, args, print, print_json};
use crate::cache::{Cache, Entry};
use crate::error::usage;
use crate::report::words::{bytes, seconds};
use crate::ui::count;
use anyhow::Result;

pub(super) const EXAMPLE: &str = "\
Example:
  smalti cache
  smalti cache --clean --keep 5G";

pub(super) fn run(args: &args::Cache, form: Form) -> Result<Done> {
    let cache = Cache::open();
    let entries = match args.clean {
        true => cache.clean(parse_size(&args.keep)?)?,
        false => cache.list()?,
    };
    match form {
        Form::Json => print_json(&entries)?,
        Form::Text => print(&text(&entries, &cache, args.clean.then_some("removed")))?,
    }
    Ok(Done::All)
}

fn text(entries: &[Entry], cache: &Cache, removed: Option<&str>) -> String {
    let total: u64 = entries.iter().map(|entry| entry.bytes).sum();
    let place = cache.location().unwrap_or_default();
    let mut text = format!(
        "{}: {}{}, {}\n",
        place.display(),
        removed.map_or(String::new(), |word| format!("{word} ")),
        count(entries.len() as u64, "artifact"),
        bytes(total)
    );
    for entry in entries {
        text.push_str(&format!(
            "  {:>9}  used {} ago  {}  {}\n",
            bytes(entry.bytes),
            seconds(entry.unused_seconds as f64),
            &entry.key[..8.min(entry.key.len())],
            entry.about
        ));
    }
    text
}

/// `500M`, `5G`, `0`: bytes, in powers of 1024.
fn parse_size(text: &str) -> Result<u64> {
    let (number, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let factor = match unit.to_ascii_uppercase().as_str() {
        "" => Some(1u64),
        "K" | "KIB" => Some(1 << 10),
        "M" | "MIB" => Some(1 << 20),
        "G" | "GIB" => Some(1 << 30),
        "T" | "TIB" => Some(1 << 40),
        _ => None,
    };
    let bytes = number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    bytes.ok_or_else(|| usage(format!("`{text}` is no size"), "give --keep 500M, 5G or 0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_or_refused() {
        assert_eq!(
            [parse_size("0").ok(), parse_size("5G").ok(), parse_size("2k").ok()],
            [Some(0), Some(5 << 30), Some(2048)]
        );
        for wrong in ["", "G", "-1", "5X", "99999999999T"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
