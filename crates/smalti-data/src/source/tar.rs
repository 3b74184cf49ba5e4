//! Tar files: samples as `webdataset` reads them, or one folder of images per class inside.
//!
//! A sample is a run of members with one key, the path up to the first dot of the file name; what follows the dot is the suffix. The image
//! is the member with an image's ending, the label a `.cls` member (a number, or text) or the `label` of a `.json` member, or the key of it
//! that is asked for. Where no member is a label, every image is a sample of its own, and the folder that holds it is its class (timm's rule). Listing reads headers
//! and labels alone; names longer than a header and sizes are bounded before anything is allocated.

use super::class_map::{ClassMap, Named};
use super::labels::{Labels, Place};
use super::names::Names;
use super::{EXTENSIONS, Each, MAX_IMAGE_BYTES, SourceOptions, row_number, split_word, splits_of};
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::tables::{PathList, Split};
use ::tar::{Archive, EntryType, PaxExtensions};
use rayon::prelude::*;
use std::fs::File;
use std::io::Read;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Longest member that is text (a label, a long name), in bytes.
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// Files beside the archives that name the classes, one a line: ours and timm's, and that of the CLIP benchmark.
const CLASS_LISTS: [&str; 2] = ["class_to_idx.txt", "classnames.txt"];

/// Keys of a label in a `.json` member.
const JSON_LABELS: [&str; 3] = ["label", "class_id", "cls"];

/// All samples of some tar files.
pub(super) struct Listing {
    shards: Vec<Shard>,
    rows: Vec<Row>,
    names: Names,
}

/// One archive.
struct Shard {
    path: PathBuf,
    bytes: u64,
}

/// Where an image lies.
struct Row {
    /// Index into the archives.
    shard: u32,
    /// Offset of its bytes; none for a sample without an image. A header comes first, so no image lies at 0.
    at: Option<NonZeroU64>,
    bytes: u64,
    class_id: u32,
    split: Split,
}

/// What a person has said of the members.
#[derive(Clone, Copy, Default)]
struct Wanted<'a> {
    /// The ending of the images.
    ending: Option<&'a str>,
    /// The key of the label in `.json` members; `.cls` members are passed over then.
    key: Option<&'a str>,
}

impl Wanted<'_> {
    fn of(options: &SourceOptions) -> Wanted<'_> {
        Wanted { ending: options.image_column.as_deref(), key: options.label_column.as_deref() }
    }
}

/// A plain file in an archive.
struct Member {
    name: String,
    at: u64,
    bytes: u64,
}

/// Lists some archives; returns class names and rows.
pub(super) fn list(paths: &[PathBuf], options: &SourceOptions) -> Result<(Named, Listing)> {
    let splits = splits_of(paths)?;
    let mut listing = Listing { shards: Vec::new(), rows: Vec::new(), names: Names::default() };
    let mut labels = Labels::default();
    for (path, split) in paths.iter().zip(splits) {
        labels.expect(class_names(path)?, path)?;
        listing.add(path, split, Wanted::of(options), &mut labels)?;
    }
    let mut class_ids: Vec<u32> = listing.rows.iter().map(|row| row.class_id).collect();
    let named = labels.finish(&mut class_ids);
    listing.rows.iter_mut().zip(class_ids).for_each(|(row, class_id)| row.class_id = class_id);
    Ok((named, listing))
}

/// The images of a compressed set in tar files alone, in the manifest's order.
pub(super) fn of_manifest(root: &Path, manifest: &Manifest) -> Result<Listing> {
    let mut listing = Listing { shards: Vec::new(), rows: Vec::new(), names: Names::default() };
    for file in &manifest.webdataset {
        listing.add(&root.join(&file.file), Split::Train, Wanted::default(), &mut Labels::default())?;
    }
    let differs = || {
        let what = format!("the tar files of `{}` do not hold the images of its manifest", root.display());
        Error::input(what, "compress again with --force, or restore the files")
    };
    // The key of a sample is the number of its image; samples lie shuffled.
    let number = |name: &str| key_and_suffix(name.rsplit('/').next()?)?.0.parse::<usize>().ok();
    let mut rows: Vec<Option<(Row, usize)>> = manifest.images.iter().map(|_| None).collect();
    for (at, row) in listing.rows.drain(..).enumerate() {
        let name = String::from_utf8_lossy(listing.names.get(at));
        let place =
            number(&name).and_then(|at| rows.get_mut(at)).filter(|place| place.is_none()).ok_or_else(differs)?;
        *place = Some((row, at));
    }
    let mut names = Names::default();
    for (row, image) in rows.into_iter().zip(&manifest.images) {
        let (row, at) = row.filter(|(row, _)| row.class_id == image.class_id).ok_or_else(differs)?;
        listing.rows.push(row);
        names.push(listing.names.get(at));
    }
    Ok(Listing { names, ..listing })
}

/// The class names in a list beside an archive, or above the `data` folder that it lies in.
fn class_names(archive: &Path) -> Result<Option<Vec<String>>> {
    let folder = archive.parent().unwrap_or(Path::new(""));
    let above = folder.parent().filter(|_| folder.file_name().is_some_and(|name| name == "data"));
    let lists = [Some(folder), above].into_iter().flatten().flat_map(|f| CLASS_LISTS.map(|name| f.join(name)));
    match lists.into_iter().find(|path| path.is_file()) {
        Some(path) => Ok(Some(ClassMap::read(&path)?.into_names())),
        None => Ok(None),
    }
}

impl PathList for Listing {
    fn path(&self, row: u32) -> String {
        let shard = &self.shards[self.rows[row as usize].shard as usize].path;
        let name = String::from_utf8_lossy(self.names.get(row as usize));
        format!("{}/{name}", shard.file_name().unwrap_or_default().to_string_lossy())
    }
}

impl super::Listing for Listing {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn class_id(&self, row: u32) -> u32 {
        self.rows[row as usize].class_id
    }

    fn split(&self, row: u32) -> Split {
        self.rows[row as usize].split
    }

    fn for_each(&self, rows: &[u32], each: Each) -> Result<()> {
        let mut by_shard: Vec<(u32, u32)> = rows.iter().map(|&row| (self.rows[row as usize].shard, row)).collect();
        by_shard.sort_unstable();
        for group in by_shard.chunk_by(|a, b| a.0 == b.0) {
            let shard = &self.shards[group[0].0 as usize];
            let file = File::open(&shard.path).map_err(Error::io("read", &shard.path))?;
            group.par_iter().for_each(|&(_, row)| each(row, shard.read(&file, &self.rows[row as usize])));
        }
        Ok(())
    }

    fn places(&self) -> Vec<PathBuf> {
        self.shards.iter().map(|shard| shard.path.clone()).collect()
    }
}

impl Shard {
    fn read(&self, file: &File, row: &Row) -> Result<Vec<u8>> {
        let bad = |cause: &str| Err(Error::Decode { cause: cause.to_owned() });
        let Some(at) = row.at else { return bad("the sample has no image") };
        if row.bytes > MAX_IMAGE_BYTES {
            return bad("the member is larger than 1 GiB");
        }
        if at.get().checked_add(row.bytes).is_none_or(|end| end > self.bytes) {
            return bad("the archive ends before the image does");
        }
        let mut bytes = vec![0; row.bytes as usize];
        file.read_exact_at(&mut bytes, at.get()).map_err(Error::io("read", &self.path))?;
        Ok(bytes)
    }
}

impl Listing {
    /// Reads headers and labels of one more archive.
    fn add(&mut self, path: &Path, split: Split, wanted: Wanted, labels: &mut Labels) -> Result<()> {
        let file = File::open(path).map_err(Error::io("read", path))?;
        let bytes = file.metadata().map_err(Error::io("read", path))?.len();
        let shard = row_number(self.shards.len(), path)?;
        let mut members = members(path, &file)?;
        // What has no key belongs to no sample, wherever it lies.
        members.retain(|member| key_of(member).is_some());
        let labelled =
            groups(&members).any(|sample| sample.iter().any(is_label) && sample.iter().any(|m| is_image(&m.name)));
        let mut push = |image: Option<&Member>, name: &str, class_id: u32, split: Split| {
            self.rows.push(Row {
                shard,
                at: image.and_then(|image| NonZeroU64::new(image.at)),
                bytes: image.map_or(0, |image| image.bytes),
                class_id,
                split,
            });
            self.names.push(name.as_bytes());
            row_number(self.rows.len(), path).map(|_| ())
        };
        if labelled {
            for sample in groups(&members) {
                let key = key_of(&sample[0]).unwrap_or_default();
                let place = Place::Sample(path, key);
                let image = image_of(sample, wanted.ending, place)?;
                if image.is_none() && !has_label(sample, &file, wanted.key) {
                    continue;
                }
                let class_id = label_of(sample, &file, wanted.key, labels, place)?;
                push(image, image.map_or(key, |image| image.name.as_str()), class_id, split)?;
            }
            self.shards.push(Shard { path: path.to_owned(), bytes });
            return Ok(());
        }
        for image in members.iter().filter(|member| is_image(&member.name)) {
            let mut folders = image.name.rsplit('/').skip(1).filter(|part| !part.is_empty() && *part != ".");
            let class = folders.next().ok_or_else(|| {
                Error::input(
                    format!("`{}` in `{}` has no label: no .cls member, and no folder", image.name, path.display()),
                    "pack `key.jpg` with `key.cls`, or one folder per class",
                )
            })?;
            let split = folders.find_map(split_word).unwrap_or(split);
            let class_id = labels.text(class, Place::Sample(path, &image.name))?;
            push(Some(image), &image.name, class_id, split)?;
        }
        self.shards.push(Shard { path: path.to_owned(), bytes });
        Ok(())
    }
}

/// The plain files of an archive, in order.
fn members(path: &Path, file: &File) -> Result<Vec<Member>> {
    let damaged = |cause: &dyn std::fmt::Display| Error::Archive { path: path.to_owned(), cause: cause.to_string() };
    let mut archive = Archive::new(file);
    let mut members = Vec::new();
    // Names that the next header is too short for; read here, since the library would take any length into memory.
    let mut long_name: Option<String> = None;
    for entry in archive.entries_with_seek().map_err(|e| damaged(&e))?.raw(true) {
        let mut entry = entry.map_err(|e| damaged(&e))?;
        match entry.header().entry_type() {
            EntryType::GNULongName => {
                let name = text(&mut entry).map_err(|e| damaged(&e))?;
                long_name = Some(String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned());
            }
            EntryType::XHeader => {
                let records = text(&mut entry).map_err(|e| damaged(&e))?;
                for record in PaxExtensions::new(&records).flatten() {
                    match record.key_bytes() {
                        b"path" => long_name = Some(String::from_utf8_lossy(record.value_bytes()).into_owned()),
                        b"size" => {
                            return Err(damaged(
                                &"a member of more than 8 GiB, or one whose size stands apart, is not read",
                            ));
                        }
                        _ => {}
                    }
                }
            }
            EntryType::Regular | EntryType::Continuous => {
                let name = long_name.take();
                let name = name.unwrap_or_else(|| String::from_utf8_lossy(&entry.header().path_bytes()).into_owned());
                if is_meta(&name) {
                    continue;
                }
                members.push(Member { name, at: entry.raw_file_position(), bytes: entry.size() });
            }
            _ => long_name = None,
        }
    }
    Ok(members)
}

/// `__name__`: what `webdataset` keeps for itself.
fn is_meta(name: &str) -> bool {
    name.strip_prefix("__")
        .and_then(|rest| rest.split('/').next())
        .is_some_and(|first| first.len() >= 2 && first.ends_with("__"))
}

/// The bytes of a member that is text.
fn text(entry: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_TEXT_BYTES {
        true => Err(std::io::Error::other("a name or label longer than 1 MiB")),
        false => Ok(bytes),
    }
}

/// Key and suffix of a member, as `webdataset` splits its name; none where the file name begins with its first dot, or has none.
fn key_and_suffix(name: &str) -> Option<(&str, String)> {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = file + name[file..].find('.').filter(|&dot| dot > 0)?;
    Some((&name[..dot], name[dot + 1..].to_lowercase()))
}

fn key_of(member: &Member) -> Option<&str> {
    key_and_suffix(&member.name).map(|(key, _)| key)
}

/// Neighbours with one key.
fn groups(members: &[Member]) -> impl Iterator<Item = &[Member]> {
    members.chunk_by(|a, b| key_of(a) == key_of(b))
}

fn is_label(member: &Member) -> bool {
    key_and_suffix(&member.name).is_some_and(|(_, suffix)| matches!(suffix.as_str(), "cls" | "json"))
}

fn is_image(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let hidden = name.rsplit('/').next().is_some_and(|file| file.starts_with('.'));
    !hidden && EXTENSIONS.iter().any(|ending| name.ends_with(ending))
}

/// The one image of a sample.
fn image_of<'a>(sample: &'a [Member], ending: Option<&str>, place: Place) -> Result<Option<&'a Member>> {
    let wanted = |member: &&Member| match ending {
        Some(ending) => key_and_suffix(&member.name).is_some_and(|(_, suffix)| suffix == ending.to_lowercase()),
        None => is_image(&member.name),
    };
    let mut images = sample.iter().filter(wanted);
    match (images.next(), images.next()) {
        (Some(first), Some(second)) => Err(Error::input(
            format!("{place} has two images, `{}` and `{}`", first.name, second.name),
            "name the ending of the one to take with --image-column",
        )),
        (image, _) => Ok(image),
    }
}

/// The label of a sample: the key of `.json` that is asked for; else what `.cls` holds, else a known key of `.json`.
fn label_of(sample: &[Member], file: &File, key: Option<&str>, labels: &mut Labels, place: Place) -> Result<u32> {
    if let (None, Some(text)) = (key, content(sample, file, "cls")) {
        let text = text.trim();
        return match text.parse() {
            Ok(number) => labels.number(number, place),
            Err(_) if text.is_empty() => Err(unlabelled(place, key)),
            Err(_) => labels.text(text, place),
        };
    }
    match json_label(sample, file, key) {
        Some(serde_json::Value::String(text)) => labels.text(&text, place),
        Some(value) => labels.number(value.as_i64().unwrap_or(-1), place),
        None => Err(unlabelled(place, key)),
    }
}

/// Whether a sample is labelled, with or without an image: what has a label is counted.
fn has_label(sample: &[Member], file: &File, key: Option<&str>) -> bool {
    key.is_none() && with_suffix(sample, "cls").is_some() || json_label(sample, file, key).is_some()
}

/// The label in a `.json` member: text, or a whole number.
fn json_label(sample: &[Member], file: &File, key: Option<&str>) -> Option<serde_json::Value> {
    let json: serde_json::Value = serde_json::from_str(&content(sample, file, "json")?).ok()?;
    let label = match key {
        Some(key) => json.get(key)?,
        None => JSON_LABELS.iter().find_map(|key| json.get(key))?,
    };
    (label.is_string() || label.is_i64()).then(|| label.clone())
}

/// The member of a sample with a suffix.
fn with_suffix<'a>(sample: &'a [Member], wanted: &str) -> Option<&'a Member> {
    sample.iter().find(|member| key_and_suffix(&member.name).is_some_and(|(_, suffix)| suffix == wanted))
}

/// The text of that member.
fn content(sample: &[Member], file: &File, wanted: &str) -> Option<String> {
    let member = with_suffix(sample, wanted)?;
    let mut bytes = vec![0; usize::try_from(member.bytes.min(MAX_TEXT_BYTES)).unwrap_or(0)];
    file.read_exact_at(&mut bytes, member.at).ok()?;
    String::from_utf8(bytes).ok()
}

fn unlabelled(place: Place, key: Option<&str>) -> Error {
    match key {
        Some(key) => Error::input(
            format!("{place} has no label `{key}` in its .json member"),
            "name another key with --label-column, or leave it out to read .cls members",
        ),
        None => Error::input(
            format!("{place} has no label"),
            "give every sample a .cls member with its class number, or a `label` in its .json member",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_split_at_the_first_dot_of_the_file_name() {
        for (name, expected) in [
            ("a/b.JPG", Some(("a/b", "jpg"))),
            ("b.seg.png", Some(("b", "seg.png"))),
            ("v1.2/x.jpg", Some(("v1.2/x", "jpg"))),
            ("./x.cls", Some(("./x", "cls"))),
            (".hidden", None),
            ("a/.x.jpg", None),
            ("plain", None),
        ] {
            assert_eq!(key_and_suffix(name), expected.map(|(key, suffix)| (key, suffix.to_owned())), "{name}");
        }
    }
}
