//! A file that fixes names and order of the classes (`--class-map`), and what it does to those of a source.
//!
//! Forms read: one class a line, in order (timm's `--class-map`, our `class_to_idx.txt`; more words on a line are taken as a comment when
//! the first words are the names, as in ImageNet's synset list); JSON from name to number, or from number to name or to a list that
//! begins with the name.

use crate::error::{Error, Result};
use crate::files;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Largest class map in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// The classes of a source as it states them.
pub(super) enum Named {
    /// By name, in class order.
    Names(Vec<String>),
    /// By number alone: so many classes.
    Numbers(u32),
}

impl Named {
    /// Names in class order. Numbers get as many digits as the last one has, so that names sort as numbers do.
    pub(super) fn into_names(self) -> Vec<String> {
        match self {
            Named::Names(names) => names,
            Named::Numbers(count) => {
                let digits = count.saturating_sub(1).to_string().len();
                (0..count).map(|class| format!("{class:0digits$}")).collect()
            }
        }
    }
}

/// Names in class order, from a file.
#[derive(Debug)]
pub(super) struct ClassMap {
    path: PathBuf,
    /// Whole lines, or the names of a JSON map.
    names: Vec<String>,
}

impl ClassMap {
    /// Reads a class map.
    ///
    /// # Errors
    /// [`Error::Input`] when it is empty, names a class twice or numbers classes with gaps; [`Error::Io`] with the path.
    pub(super) fn read(path: &Path) -> Result<ClassMap> {
        let wrong = |cause: String| {
            let hint = "write one class name a line in class order, or JSON from name to number";
            Error::input(format!("the class map `{}` {cause}", path.display()), hint)
        };
        if fs::metadata(path).map_err(Error::io("read", path))?.len() > MAX_BYTES {
            return Err(wrong("is larger than 64 MiB".to_owned()));
        }
        let text = String::from_utf8(files::read(path)?).map_err(|_| wrong("is not UTF-8 text".to_owned()))?;
        let text = text.trim_start_matches('\u{feff}');
        let names = match text.trim_start().starts_with('{') {
            true => of_json(text).map_err(wrong)?,
            false => text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect(),
        };
        if names.is_empty() {
            return Err(wrong("names no class".to_owned()));
        }
        let mut seen = HashSet::new();
        match names.iter().find(|name| !seen.insert(name.as_str())) {
            Some(twice) => Err(wrong(format!("names `{twice}` twice"))),
            None => Ok(ClassMap { path: path.to_owned(), names }),
        }
    }

    /// The names as they stand there.
    pub(super) fn into_names(self) -> Vec<String> {
        self.names
    }

    /// Names in the map's order, and for each class of the source its index there.
    ///
    /// # Errors
    /// [`Error::Input`] naming a class that only one of the two has.
    pub(super) fn apply(&self, found: Named, source: &Path) -> Result<(Vec<String>, Option<Vec<u32>>)> {
        let found = match found {
            Named::Numbers(count) if count as usize <= self.names.len() => return Ok((self.names.clone(), None)),
            Named::Numbers(count) => {
                return Err(
                    self.differs(source, &format!("it has {} classes, and the label {}", self.names.len(), count - 1))
                );
            }
            Named::Names(names) => names,
        };
        let names = self.as_named(&found);
        let places: HashMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
        let order: Vec<u32> = found
            .iter()
            .map(|name| {
                places
                    .get(name.as_str())
                    .copied()
                    .ok_or_else(|| self.differs(source, &format!("`{name}` is not in the map")))
            })
            .collect::<Result<_>>()?;
        let present: HashSet<u32> = order.iter().copied().collect();
        if let Some(at) = (0..names.len() as u32).find(|at| !present.contains(at)) {
            return Err(self.differs(source, &format!("`{}` is in the map alone", names[at as usize])));
        }
        let moves = order.iter().copied().ne(0..order.len() as u32);
        Ok((names, moves.then_some(order)))
    }

    /// Checks that a set whose order is fixed has the map's.
    ///
    /// # Errors
    /// [`Error::Input`] naming the first difference.
    pub(super) fn confirm(&self, classes: &[String], set: &Path) -> Result<()> {
        let (names, order) = self.apply(Named::Names(classes.to_vec()), set)?;
        match order.and_then(|_| classes.iter().zip(&names).position(|(a, b)| a != b)) {
            Some(at) => {
                Err(self.differs(set, &format!("class {at} is `{}` there and `{}` in the map", classes[at], names[at])))
            }
            None => Ok(()),
        }
    }

    /// The map's names as the source spells them: whole lines, or first words where those are the names.
    fn as_named(&self, found: &[String]) -> Vec<String> {
        let known: HashSet<&str> = found.iter().map(String::as_str).collect();
        if self.names.iter().any(|name| known.contains(name.as_str())) {
            return self.names.clone();
        }
        let first_words = self.names.iter().map(|line| line.split([' ', '\t', ',']).next().unwrap_or(line).to_owned());
        let words: Vec<String> = first_words.collect();
        if words.iter().any(|word| known.contains(word.as_str())) { words } else { self.names.clone() }
    }

    fn differs(&self, source: &Path, how: &str) -> Error {
        Error::input(
            format!(
                "the classes of `{}` are not those of the class map `{}`: {how}",
                source.display(),
                self.path.display()
            ),
            "give the map of this data set, with exactly its classes",
        )
    }
}

/// Names in class order from `{"name": 0}`, `{"0": "name"}` or `{"0": ["name", ..]}`.
fn of_json(text: &str) -> std::result::Result<Vec<String>, String> {
    let value: serde_json::Map<String, Value> =
        serde_json::from_str(text).map_err(|e| format!("is no JSON object: {e}"))?;
    let mut numbered: Vec<(u64, String)> = value
        .into_iter()
        .map(|(key, value)| match value {
            Value::Number(number) => number.as_u64().map(|at| (at, key)),
            Value::String(name) => key.parse().ok().map(|at| (at, name)),
            Value::Array(list) => key.parse().ok().zip(list.first().and_then(Value::as_str).map(str::to_owned)),
            _ => None,
        })
        .collect::<Option<_>>()
        .ok_or("maps neither names to numbers nor numbers to names")?;
    numbered.sort();
    match numbered.iter().zip(0..).find(|((number, _), at)| number != at) {
        Some((_, at)) => Err(format!("has no class {at}, or has it twice")),
        None => Ok(numbered.into_iter().map(|(_, name)| name).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> Result<ClassMap> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("map.txt");
        std::fs::write(&path, text).expect("written");
        ClassMap::read(&path)
    }

    fn named(names: &[&str]) -> Named {
        Named::Names(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn applied(text: &str, found: Named) -> Result<(Vec<String>, Option<Vec<u32>>)> {
        map(text).expect("a map").apply(found, Path::new("photos"))
    }

    #[test]
    fn every_form_gives_the_same_order() {
        for text in [
            "b\na\n",
            "\u{feff}b\r\na\r\n\r\n",
            "b\tthe second letter\na the first\n",
            r#"{"a": 1, "b": 0}"#,
            r#"{"0": "b", "1": "a"}"#,
            r#"{"1": ["a", "the first"], "0": ["b"]}"#,
        ] {
            let (names, order) = applied(text, named(&["a", "b"])).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((names.join(" "), order), ("b a".to_owned(), Some(vec![1, 0])), "{text}");
        }
        assert_eq!(applied("a\nb", named(&["a", "b"])).expect("the same").1, None);
    }

    #[test]
    fn numbers_get_the_names_of_the_map() {
        assert_eq!(applied("x\ny\nz", Named::Numbers(2)).expect("fits").0, ["x", "y", "z"]);
        let error = applied("x\ny", Named::Numbers(3)).expect_err("too many").to_string();
        assert!(error.ends_with("it has 2 classes, and the label 2"), "{error}");
        assert_eq!(Named::Numbers(11).into_names()[..2], ["00", "01"]);
    }

    #[test]
    fn a_class_that_only_one_has_is_named() {
        let error = |text, found: &[&str]| applied(text, named(found)).expect_err("refused").to_string();
        assert!(error("a\nb", &["a", "c"]).contains("`c` is not in the map"));
        assert!(error("a\nb\nc", &["a", "b"]).contains("`c` is in the map alone"));
        for (text, cause) in [
            ("a\na", "names `a` twice"),
            ("\n \n", "names no class"),
            ("{\"a\": 0, \"b\": 2}", "has no class 1"),
            ("{\"a\": 0, \"b\": 0}", "has no class 1"),
            ("{\"a\": true}", "maps neither"),
            ("{", "is no JSON object"),
        ] {
            let error = map(text).expect_err("refused").to_string();
            assert!(error.contains(cause), "{text}: {error}");
        }
    }

    #[test]
    fn a_set_with_another_order_is_refused() {
        let classes = ["a".to_owned(), "b".to_owned()];
        let set = Path::new("set");
        map("a\nb").expect("a map").confirm(&classes, set).expect("the same");
        let error = map("b\na").expect("a map").confirm(&classes, set).expect_err("another order").to_string();
        assert!(error.contains("class 0 is `a` there and `b` in the map"), "{error}");
    }
}
