//! Lists of images as text, one a line: what other tools read and write of a selection.
//!
//! An image is named by its path inside the source (as in `samples.parquet`), by its content hash (32 hexadecimal digits), or by its row
//! number. Blank lines and lines that begin with `#` are skipped. The order of the lines is the order of preference.

use super::{ContentHash, Reasons, Samples, Selected, Selection, Split, Status, Verdict};
use crate::error::{Error, Result};
use crate::files;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Whether a file is such a list: any that does not begin as Parquet does.
pub fn is_list(path: &Path) -> bool {
    let mut start = [0; PARQUET.len()];
    File::open(path).is_ok_and(|mut file| file.read_exact(&mut start).is_err() || start != *PARQUET)
}

/// The first bytes of a Parquet file.
const PARQUET: &[u8; 4] = b"PAR1";

/// Writes the paths of the kept images, class by class, best first.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn write(path: &Path, selection: &Selection, samples: &Samples) -> Result<()> {
    let mut kept: Vec<&Selected> = selection.rows.iter().filter(|row| row.verdict.is_kept()).collect();
    kept.sort_by_key(|row| (row.class_id, row.rank_in_class));
    let hash = |row: u32| samples.rows[row as usize].content_hash.to_string();
    let names: Vec<[String; 2]> =
        kept.iter().map(|row| [samples.path(row.sample).into_owned(), hash(row.sample)]).collect();
    let known = Lookup::of(names.iter().flatten().map(String::as_str), samples);
    // A name that reads back: the path, else the content hash, else the row.
    let line = |(row, names): (&&Selected, &[String; 2])| {
        let back = names.iter().find(|name| is_plain(name) && known.row(name) == Ok(row.sample));
        back.cloned().unwrap_or_else(|| row.sample.to_string()) + "\n"
    };
    let lines: String = kept.iter().zip(&names).map(line).collect();
    files::write_bytes(path, lines.as_bytes())
}

/// Reads a list against the images of its source.
///
/// # Errors
/// [`Error::Input`] naming the line of an image that is not there, is not for training, is ambiguous, or stands twice.
pub fn read(path: &Path, samples: &Samples) -> Result<Selection> {
    let bytes = files::read(path)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::input(format!("`{}` is not UTF-8 text", path.display()), "write one image a line"))?;
    // Editors on Windows begin a text with a mark of its own.
    let text = text.trim_start_matches('\u{feff}');
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let known = Lookup::of(lines.clone().map(|(_, line)| line.trim()), samples);
    let mut seen = HashSet::new();
    let mut rows = Vec::new();
    let mut reasons = Reasons::default();
    let reason = reasons.number("given");
    for (number, line) in lines {
        let wrong = |how: &str| {
            let what = format!("line {number} of `{}`, `{}`, {how}", path.display(), line.trim());
            Error::input(
                what,
                "name training images of this source, one a line without a header: path, content hash or row, as in samples.parquet",
            )
        };
        let row = known.row(line.trim()).map_err(wrong)?;
        let sample = &samples.rows[row as usize];
        if sample.split != Split::Train || sample.status != Status::Ok {
            return Err(wrong("is not a usable training image"));
        }
        if !seen.insert(row) {
            return Err(wrong("stands there twice"));
        }
        rows.push(Selected {
            sample: row,
            class_id: sample.class_id,
            rank_in_class: rows.len() as u32,
            verdict: Verdict::kept(reason),
        });
    }
    rows.sort_by_key(|row| (row.class_id, row.rank_in_class));
    Ok(Selection { rows, reasons })
}

/// What some names mean in a source, found in one pass over it: memory for the names asked for, not for the source.
struct Lookup {
    by_path: HashMap<String, Rows>,
    by_hash: HashMap<ContentHash, Rows>,
    len: usize,
}

/// The rows that one name fits.
#[derive(Clone, Copy)]
enum Rows {
    None,
    One(u32),
    Several,
}

impl Rows {
    fn add(&mut self, row: u32) {
        *self = if matches!(self, Rows::None) { Rows::One(row) } else { Rows::Several };
    }
}

impl Lookup {
    fn of<'a>(names: impl Iterator<Item = &'a str> + Clone, samples: &Samples) -> Lookup {
        let mut by_path: HashMap<String, Rows> = names.clone().map(|name| (name.to_owned(), Rows::None)).collect();
        let mut by_hash: HashMap<ContentHash, Rows> =
            names.filter_map(ContentHash::parse).map(|hash| (hash, Rows::None)).collect();
        for sample in &samples.rows {
            if let Some(rows) = by_path.get_mut(&*samples.path(sample.sample)) {
                rows.add(sample.sample);
            }
            if let Some(rows) = by_hash.get_mut(&sample.content_hash) {
                rows.add(sample.sample);
            }
        }
        Lookup { by_path, by_hash, len: samples.rows.len() }
    }

    /// The row of one of the names.
    fn row(&self, name: &str) -> std::result::Result<u32, &'static str> {
        let of_path = self.by_path.get(name);
        let of_hash = ContentHash::parse(name).and_then(|hash| self.by_hash.get(&hash));
        let of_row = name.parse().ok().filter(|&row: &u32| (row as usize) < self.len).map(Rows::One);
        let meant = [of_path, of_hash].into_iter().flatten().find(|rows| !matches!(rows, Rows::None));
        match meant.copied().or(of_row) {
            Some(Rows::One(row)) => Ok(row),
            Some(Rows::Several) => Err("names several images"),
            Some(Rows::None) | None => Err("is not in the source"),
        }
    }
}

/// Whether a line of the list holds this name as it is.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('#') && name.trim() == name && !name.contains(['\n', '\r'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::Sample;

    fn samples() -> Samples {
        let row = |(sample, split): (u32, Split)| Sample {
            sample,
            content_hash: (u128::from(sample) + 1).into(),
            class_id: sample % 2,
            split,
            width: 1,
            height: 1,
            bytes: 1,
            status: Status::Ok,
        };
        let paths = ["a/x.png", "b/x.png", " odd", "twice", "twice", "test.png"];
        let splits = [Split::Train, Split::Train, Split::Train, Split::Train, Split::Train, Split::Test];
        Samples {
            classes: vec!["a".to_owned(), "b".to_owned()],
            rows: (0..).zip(splits).map(row).collect(),
            paths: paths.iter().collect(),
            ..Samples::default()
        }
    }

    fn list(text: &str) -> Result<Selection> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("kept.txt");
        std::fs::write(&path, text).expect("written");
        read(&path, &samples())
    }

    #[test]
    fn images_are_named_by_path_hash_or_row() {
        let read = list(&format!("# mine\nb/x.png\n\n{:032x}\n0\r\n4\n", 3)).expect("all there");
        let rows: Vec<(u32, u32)> = read.rows.iter().map(|row| (row.class_id, row.sample)).collect();
        assert_eq!(rows, [(0, 2), (0, 0), (0, 4), (1, 1)]);
    }

    #[test]
    fn a_mark_before_the_text_is_no_part_of_it() {
        let rows = |text: &str| list(text).expect("all there").rows.iter().map(|row| row.sample).collect::<Vec<_>>();
        assert_eq!(rows("\u{feff}b/x.png\r\n0\r\n"), [0, 1]);
        assert_eq!(rows("\u{feff}# mine\n0"), [0]);
    }

    #[test]
    fn what_is_written_reads_back() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("kept.txt");
        let selection = list("2\nb/x.png\n0").expect("all there");
        write(&path, &selection, &samples()).expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("text"), format!("{:032x}\na/x.png\nb/x.png\n", 3));
        let again = read(&path, &samples()).expect("all there");
        assert_eq!((again.kept_of(0), again.kept_of(1)), (selection.kept_of(0), selection.kept_of(1)));
        assert!(is_list(&path) && !is_list(&dir.path().join("not there")));
        let tables = ["kept", "kept.txt"].map(|name| dir.path().join(name));
        for table in &tables {
            selection.write(table).expect("written");
            assert!(!is_list(table), "whatever its name, a table is none");
        }
    }

    #[test]
    fn what_is_wrong_is_named_by_its_line() {
        for (text, words) in [
            ("0\nc/x.png", "line 2 of"),
            ("6", "is not in the source"),
            ("twice", "names several images"),
            ("0\na/x.png", "stands there twice"),
            ("test.png", "is not a usable training image"),
        ] {
            let error = list(text).expect_err(text).to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
