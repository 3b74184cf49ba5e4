//! Lists of images as text, one a line: what other tools read and write of a selection.
//!
//! An image is named by its path inside the source (as in `samples.parquet`), by its content hash (32 hexadecimal digits), or by its row
//! number. Blank lines and lines that begin with `#` are skipped. The order of the lines is the order of preference.

use super::{Sample, Samples, Selected, Selection, Split, Status};
use crate::error::{Error, Result};
use crate::files;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

/// Whether a file is such a list, by its name.
pub fn is_list(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ["txt", "csv", "list"].iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// Writes the paths of the kept images, class by class, best first.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn write(path: &Path, selection: &Selection, samples: &Samples) -> Result<()> {
    let mut kept: Vec<&Selected> = selection.rows.iter().filter(|row| row.kept).collect();
    kept.sort_by_key(|row| (row.class_id, row.rank_in_class));
    let known = Known::of(samples);
    let lines: String = kept.iter().map(|row| known.name(&samples.rows[row.sample as usize]) + "\n").collect();
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
    let known = Known::of(samples);
    let mut seen = HashSet::new();
    let mut rows = Vec::new();
    let reason: Arc<str> = "given".into();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
    {
        let wrong = |how: &str| {
            let what = format!("line {number} of `{}`, `{}`, {how}", path.display(), line.trim());
            Error::input(what, "name training images of this source: path, content hash or row, as in samples.parquet")
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
            kept: true,
            rank_in_class: rows.len() as u32,
            reason: reason.clone(),
        });
    }
    rows.sort_by_key(|row| (row.class_id, row.rank_in_class));
    Ok(Selection { rows })
}

/// The rows of a source in the order of their names: eight bytes a row, where maps would cost a hundred.
struct Known<'a> {
    samples: &'a [Sample],
    by_path: Vec<u32>,
    by_hash: Vec<u32>,
}

impl<'a> Known<'a> {
    fn of(samples: &'a Samples) -> Known<'a> {
        let samples = samples.rows.as_slice();
        let all: Vec<u32> = (0..).take(samples.len()).collect();
        let mut known = Known { samples, by_path: all.clone(), by_hash: all };
        known.by_path.sort_unstable_by(|&a, &b| known.samples[a as usize].path.cmp(&known.samples[b as usize].path));
        known.by_hash.sort_unstable_by_key(|&row| known.samples[row as usize].content_hash);
        known
    }

    /// The rows that compare as equal.
    fn equal<'b>(&self, sorted: &'b [u32], compare: impl Fn(&Sample) -> std::cmp::Ordering) -> &'b [u32] {
        let of = |row: &u32| compare(&self.samples[*row as usize]);
        let first = sorted.partition_point(|row| of(row).is_lt());
        let count = sorted[first..].partition_point(|row| of(row).is_eq());
        &sorted[first..first + count]
    }

    /// A name that reads back: the path, else the content hash, else the row.
    fn name(&self, sample: &Sample) -> String {
        let hash = format!("{:032x}", sample.content_hash);
        let row = sample.sample.to_string();
        let plain = |name: &String| !name.starts_with('#') && name.trim() == name && !name.contains(['\n', '\r']);
        let back = |name: &String| plain(name) && self.row(name) == Ok(sample.sample);
        [sample.path.clone(), hash].into_iter().find(back).unwrap_or(row)
    }

    fn row(&self, name: &str) -> std::result::Result<u32, &'static str> {
        let one = |rows: &[u32]| match rows {
            [] => None,
            [row] => Some(Ok(*row)),
            _ => Some(Err("names several images")),
        };
        let of_path = || one(self.equal(&self.by_path, |sample| sample.path.as_str().cmp(name)));
        let of_hash = || {
            let hash =
                Some(name).filter(|name| name.len() == 32).and_then(|name| u128::from_str_radix(name, 16).ok())?;
            one(self.equal(&self.by_hash, |sample| sample.content_hash.cmp(&hash)))
        };
        let of_row = || name.parse().ok().filter(|&row: &u32| (row as usize) < self.samples.len()).map(Ok);
        of_path().or_else(of_hash).or_else(of_row).unwrap_or(Err("is not in the source"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Samples {
        let row = |sample: u32, path: &str, split| Sample {
            sample,
            content_hash: u128::from(sample) + 1,
            path: path.to_owned(),
            class_id: sample % 2,
            split,
            width: 1,
            height: 1,
            bytes: 1,
            status: Status::Ok,
        };
        let rows = vec![
            row(0, "a/x.png", Split::Train),
            row(1, "b/x.png", Split::Train),
            row(2, " odd", Split::Train),
            row(3, "twice", Split::Train),
            row(4, "twice", Split::Train),
            row(5, "test.png", Split::Test),
        ];
        Samples { classes: vec!["a".to_owned(), "b".to_owned()], rows }
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
    fn what_is_written_reads_back() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("kept.txt");
        let selection = list("2\nb/x.png\n0").expect("all there");
        write(&path, &selection, &samples()).expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("text"), format!("{:032x}\na/x.png\nb/x.png\n", 3));
        let again = read(&path, &samples()).expect("all there");
        assert_eq!((again.kept_of(0), again.kept_of(1)), (selection.kept_of(0), selection.kept_of(1)));
        assert!(is_list(&path) && !is_list(Path::new("x.parquet")));
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
