//! What a source holds, put together from its samples.

use serde::Serialize;
use smalti_data::tables::{Sample, Samples, Split, Status};

/// Everything `smalti inspect` says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Findings {
    /// Images, readable or not.
    pub images: u64,
    /// Their encoded bytes.
    pub bytes: u64,
    /// Classes in class order.
    pub classes: Vec<ClassCount>,
    /// Sizes of the readable images; none when there is none.
    pub sizes: Option<Sizes>,
    /// Images that do not decode.
    pub unreadable: Vec<Unreadable>,
    /// Groups of images with the same bytes.
    pub duplicates: Vec<Duplicates>,
    /// What a person should know before compressing.
    pub warnings: Vec<String>,
}

/// Images of one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// Its name.
    pub name: String,
    /// Readable training images.
    pub train: u64,
    /// Readable test images.
    pub test: u64,
    /// Images that do not decode.
    pub unreadable: u64,
}

/// Width and height in pixels, ordered by area.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// The smallest.
    pub smallest: (u32, u32),
    /// The one in the middle.
    pub median: (u32, u32),
    /// The largest.
    pub largest: (u32, u32),
}

/// One image that does not decode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// Path inside the source.
    pub path: String,
    /// Its class.
    pub class: String,
    /// Why.
    pub cause: String,
}

/// Images with the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Duplicates {
    /// Their paths.
    pub paths: Vec<String>,
    /// Whether they lie in different classes.
    pub across_classes: bool,
    /// Whether training and test part both hold one.
    pub across_splits: bool,
}

/// Sums up a scanned source.
pub fn inspect(samples: &Samples) -> Findings {
    let mut classes: Vec<ClassCount> = samples
        .classes
        .iter()
        .map(|name| ClassCount { name: name.clone(), train: 0, test: 0, unreadable: 0 })
        .collect();
    for sample in &samples.rows {
        let class = &mut classes[sample.class_id as usize];
        match (&sample.status, sample.split) {
            (Status::Bad, _) => class.unreadable += 1,
            (Status::Ok, Split::Test) => class.test += 1,
            (Status::Ok, _) => class.train += 1,
        }
    }
    let unreadable = |(sample, cause): (&Sample, &str)| Unreadable {
        path: samples.path(sample.sample).into_owned(),
        class: samples.classes[sample.class_id as usize].clone(),
        cause: cause.to_owned(),
    };
    let duplicates = duplicates(samples);
    Findings {
        images: samples.rows.len() as u64,
        bytes: samples.rows.iter().map(|s| u64::from(s.bytes)).sum(),
        warnings: warnings(samples, &classes, &duplicates),
        classes,
        sizes: sizes(samples),
        unreadable: samples.bad().map(unreadable).collect(),
        duplicates,
    }
}

fn sizes(samples: &Samples) -> Option<Sizes> {
    let usable = samples.rows.iter().filter(|s| s.status == Status::Ok);
    let mut all: Vec<(u32, u32)> = usable.map(|s| (s.width, s.height)).collect();
    all.sort_by_key(|&(w, h)| (u64::from(w) * u64::from(h), w));
    Some(Sizes { smallest: *all.first()?, median: all[all.len() / 2], largest: *all.last()? })
}

fn duplicates(samples: &Samples) -> Vec<Duplicates> {
    // Sorted row numbers and not a map of lists: a large source has millions.
    let hash = |row: u32| samples.rows[row as usize].content_hash;
    let usable = samples.rows.iter().filter(|s| s.status == Status::Ok);
    let mut by_content: Vec<u32> = usable.map(|s| s.sample).collect();
    by_content.sort_unstable_by_key(|&row| (hash(row), row));
    let mut found: Vec<(u32, Duplicates)> = by_content
        .chunk_by(|&a, &b| hash(a) == hash(b))
        .filter(|group| group.len() > 1)
        .map(|group| {
            let group: Vec<&Sample> = group.iter().map(|&row| &samples.rows[row as usize]).collect();
            let first = group[0];
            let duplicates = Duplicates {
                paths: group.iter().map(|s| samples.path(s.sample).into_owned()).collect(),
                across_classes: group.iter().any(|s| s.class_id != first.class_id),
                across_splits: group.iter().any(|s| (s.split == Split::Test) != (first.split == Split::Test)),
            };
            (first.sample, duplicates)
        })
        .collect();
    found.sort_by_key(|(sample, _)| *sample);
    found.into_iter().map(|(_, group)| group).collect()
}

fn warnings(samples: &Samples, classes: &[ClassCount], duplicates: &[Duplicates]) -> Vec<String> {
    let mut out = Vec::new();
    let leaks = duplicates.iter().filter(|d| d.across_splits).count();
    if leaks > 0 {
        out.push(format!("{leaks} images are in both the training and the test part: accuracy on them says nothing"));
    }
    let disputed = duplicates.iter().filter(|d| d.across_classes).count();
    if disputed > 0 {
        out.push(format!("{disputed} images are in more than one class: at least one label of each is wrong"));
    }
    let copies: usize = duplicates.iter().filter(|d| !d.across_classes).map(|d| d.paths.len() - 1).sum();
    if copies > 0 {
        out.push(format!("{copies} images are copies of another in their class: a small set may hold one twice"));
    }
    out.extend(class_order(&samples.classes));
    let sizes = classes.iter().map(|c| c.train);
    if let (Some(low), Some(high)) = (sizes.clone().filter(|&n| n > 0).min(), sizes.max())
        && high > 10 * low
    {
        out.push(format!(
            "the largest class has {high} training images, the smallest {low}: --ipc is bound by the smallest"
        ));
    }
    out
}

/// A warning where two readers of a folder would number its classes differently.
fn class_order(classes: &[String]) -> Option<String> {
    let mut natural: Vec<&String> = classes.iter().collect();
    natural.sort_by_key(|name| natural_key(name));
    let differs = natural.iter().zip(classes).position(|(a, b)| *a != b).filter(|_| classes.is_sorted())?;
    Some(format!(
        "class {differs} is `{}` for torchvision and Hugging Face, which sort names as text, and `{}` for timm, which sorts numbers: pad \
         numbers with zeros, or give timm --class-map class_to_idx.txt",
        classes[differs], natural[differs]
    ))
}

/// Text and numbers in turn, as natural sorting compares them.
fn natural_key(name: &str) -> Vec<(String, u64)> {
    let mut key = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text: String = rest.chars().take_while(|c| !c.is_ascii_digit()).collect();
        let digits: String = rest[text.len()..].chars().take_while(char::is_ascii_digit).collect();
        rest = &rest[text.len() + digits.len()..];
        key.push((text.to_lowercase(), digits.parse().unwrap_or(0)));
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(sample: u32, class_id: u32, split: Split, hash: u128) -> Sample {
        Sample {
            sample,
            content_hash: hash.into(),
            class_id,
            split,
            width: 10 + sample,
            height: 10,
            bytes: 5,
            status: Status::Ok,
        }
    }

    #[test]
    fn counts_sizes_duplicates_and_leaks() {
        let bad = Sample { status: Status::Bad, width: 0, height: 0, ..sample(3, 1, Split::Train, 9) };
        let rows = vec![
            sample(0, 0, Split::Train, 1),
            sample(1, 0, Split::Test, 1),
            sample(2, 1, Split::Train, 1),
            bad,
            sample(4, 1, Split::Train, 9),
        ];
        let found = inspect(&Samples {
            classes: vec!["a".into(), "b".into()],
            paths: rows.iter().map(|s| format!("{}/{}", s.class_id, s.sample)).collect(),
            rows,
            causes: [(3, "cut".to_owned())].into(),
        });
        assert_eq!((found.images, found.bytes), (5, 25));
        let counts: Vec<_> = found.classes.iter().map(|c| (c.train, c.test, c.unreadable)).collect();
        assert_eq!(counts, [(1, 1, 0), (2, 0, 1)]);
        assert_eq!(found.sizes, Some(Sizes { smallest: (10, 10), median: (12, 10), largest: (14, 10) }));
        assert_eq!(found.unreadable[0].cause, "cut");
        let expected = Duplicates {
            paths: vec!["0/0".into(), "0/1".into(), "1/2".into()],
            across_classes: true,
            across_splits: true,
        };
        assert_eq!(found.duplicates, [expected], "an unreadable file is no copy");
        assert_eq!(found.warnings.len(), 2, "{:?}", found.warnings);
    }

    #[test]
    fn a_class_order_that_depends_on_the_reader_is_warned_of() {
        let warned = |names: &[&str]| {
            let classes = names.iter().map(|n| (*n).to_owned()).collect();
            inspect(&Samples { classes, ..Samples::default() }).warnings.iter().any(|w| w.contains("timm"))
        };
        assert!(warned(&["1", "10", "2"]));
        assert!(!warned(&["01", "02", "10"]));
        assert!(!warned(&["n01440764", "n02102040"]));
    }
}
