//! Class names from the metadata that Hugging Face `datasets` keeps in a Parquet schema.

use crate::error::{Error, Result};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// The class names of column `label`, in class order; none where the metadata names none.
///
/// Forms read: `{"info": {"features": {LABEL: {"names": [..]}}}}`, `names` as a map from number to name, and the older nesting
/// `{"class_label": {"names": ..}}`, also under `dtype`.
///
/// # Errors
/// [`Error::Table`] when the metadata is not JSON, has gaps in its numbers or a name twice.
pub(super) fn names(metadata: &HashMap<String, String>, label: &str, path: &Path) -> Result<Option<Vec<String>>> {
    let Some(text) = metadata.get("huggingface") else { return Ok(None) };
    let damaged = |cause: &str| Error::table(path, format!("its `huggingface` metadata {cause}"));
    let value: Value = serde_json::from_str(text).map_err(|_| damaged("is not JSON"))?;
    let features = value.pointer("/info/features").or_else(|| value.get("features"));
    let feature = match features {
        Some(Value::Array(list)) => {
            list.iter().find(|feature| feature.get("name").and_then(Value::as_str) == Some(label))
        }
        Some(features) => features.get(label),
        None => None,
    };
    let Some(found) = feature.and_then(names_of) else { return Ok(None) };
    let names: Option<Vec<String>> = match found {
        Value::Array(list) => list.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
        Value::Object(map) => {
            (0..map.len()).map(|at| map.get(&at.to_string()).and_then(Value::as_str).map(str::to_owned)).collect()
        }
        _ => return Ok(None),
    };
    let names = names.ok_or_else(|| damaged(&format!("has no list of names for `{label}`")))?;
    let mut seen = HashSet::new();
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        Some(twice) => Err(damaged(&format!("has the class `{twice}` twice"))),
        None => Ok(Some(names).filter(|names| !names.is_empty())),
    }
}

fn names_of(feature: &Value) -> Option<&Value> {
    ["/names", "/class_label/names", "/dtype/class_label/names"].iter().find_map(|place| feature.pointer(place))
}
