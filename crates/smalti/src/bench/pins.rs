//! OUT/inputs.json: what the cells of a folder were made from besides its source. Another thing under a known name is not mixed in.

use crate::error::failure;
use anyhow::{Context, Result};
use smalti_data::files;
use std::collections::BTreeMap;
use std::path::Path;

/// Remembers the hash or the definition of `name`, or compares it with the one that earlier cells were made from. The caller keeps other
/// processes away.
///
/// # Errors
/// When it was another, or the file is damaged.
pub(super) fn pin(out: &Path, name: &str, value: &str) -> Result<()> {
    pin_as(out, name, value, value)
}

/// As [`pin`]; `older` is what earlier versions wrote for the same thing, and is replaced.
pub(super) fn pin_as(out: &Path, name: &str, value: &str, older: &str) -> Result<()> {
    let path = out.join("inputs.json");
    let mut known: BTreeMap<String, String> = match path.exists() {
        true => serde_json::from_slice(&files::read(&path)?)
            .with_context(|| format!("`{}` is damaged; take it from where the cells come from", path.display()))?,
        false => BTreeMap::new(),
    };
    match known.get(name) {
        Some(before) if before == value => Ok(()),
        Some(before) if before != older => Err(failure(
            format!("the {name} is {value}, and cells in `{}` were made with {before}", out.display()),
            "give the one they were made with, or another --out",
        )),
        // Also where it was written in the older form, from now on in full.
        _ => {
            known.insert(name.to_owned(), value.to_owned());
            let mut text = serde_json::to_string_pretty(&known)?;
            text.push('\n');
            Ok(files::write_bytes(&path, text.as_bytes())?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cells_were_made_from_stays() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        pin(dir.path(), "teacher", "resnet18 01").expect("the first");
        pin(dir.path(), "metric `mine`", "avg(el2n)").expect("another name");
        pin(dir.path(), "teacher", "resnet18 01").expect("the same");
        let error = pin(dir.path(), "teacher", "resnet18 02").expect_err("another").to_string();
        assert!(error.contains("the teacher is resnet18 02") && error.contains("made with resnet18 01"), "{error}");
        pin(dir.path(), "set", "01").expect("the first");
        pin_as(dir.path(), "set", "01 labels 02", "01").expect("it was written so");
        for (value, older) in [("03 labels 02", "03"), ("01 labels 03", "01")] {
            let error = pin_as(dir.path(), "set", value, older).expect_err("another").to_string();
            assert!(error.contains("made with 01 labels 02"), "{error}");
        }
        std::fs::write(dir.path().join("inputs.json"), "{").expect("written");
        let error = pin(dir.path(), "teacher", "resnet18 01").expect_err("damaged").to_string();
        assert!(error.contains("inputs.json"), "{error}");
    }
}
