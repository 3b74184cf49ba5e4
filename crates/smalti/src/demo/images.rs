//! What each image of the demonstration shows, and the folder that holds them.
//!
//! A real set is never clean, so a few training images lie in the wrong folder and a few are second photographs of another
//! one. The test part has neither. Every image is a pure function of (spec, split, class, index): a run that was
//! killed is simply started again, and any number of threads writes the same bytes.

use super::{scene, shapes::SHAPES};
use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use smalti_data::encode::{ImageFormat, encode};
use smalti_data::random::{Stage, Stream};
use smalti_data::{Rgb, files};
use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::Path;

/// Part of the training images whose folder is not what they show.
const WRONG_LABELS: f64 = 0.03;

/// Part of the training images that are second photographs of another one in the same folder.
const NEAR_DUPLICATES: f64 = 0.04;

/// Streams of one seed: what each image shows is drawn from the split and class alone, the rest beside it.
const PLAN: u32 = 1 << 24;
const SECOND_PHOTOGRAPH: u32 = 2 << 24;

/// How large the demonstration is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoSpec {
    /// Classes, from 2 to the number of [`SHAPES`].
    pub classes: u32,
    /// Training images per class, at least 1.
    pub train_per_class: u32,
    /// Test images per class, at least 1.
    pub test_per_class: u32,
    /// Width and height of each image in pixels.
    pub size: u32,
    /// Another seed paints other images.
    pub seed: u64,
}

impl Default for DemoSpec {
    fn default() -> DemoSpec {
        DemoSpec { classes: 10, train_per_class: 150, test_per_class: 50, size: 64, seed: 0 }
    }
}

/// The two parts of the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// To learn from: a few wrong labels and near-duplicates.
    Train,
    /// To measure on: clean.
    Test,
}

impl Split {
    /// The folder's name.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Test => "test",
        }
    }
}

/// What was written, as far as the files alone do not say it. Paths are relative to the folder, with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoFacts {
    /// Number of images.
    pub images: u32,
    /// Images whose folder is not what they show.
    pub wrong_labels: Vec<String>,
    /// Second photographs, each with the image whose scene it shows again.
    pub near_duplicates: Vec<(String, String)>,
}

/// Writes the set to `dir`/{train,test}/CLASS/CLASS_00000.png. Calls `progress` with 1 after each image.
///
/// What is already there is painted again to the same bytes, so a broken run is finished by repeating it.
///
/// # Errors
/// When the spec is out of range, when `dir` holds images of another set, or when a file cannot be written.
pub fn write(dir: &Path, spec: &DemoSpec, progress: &(dyn Fn(u64) + Sync)) -> Result<DemoFacts> {
    check(spec)?;
    let images = all(spec);
    refuse_strangers(dir, spec, &images)?;
    images.par_iter().try_for_each(|&(split, class, index)| -> Result<()> {
        let name = path(split, class, index);
        let bytes = encode(&picture(spec, split, class, index), ImageFormat::Png)
            .with_context(|| format!("while painting the demonstration's image {name}"))?;
        files::write_bytes(&dir.join(&name), &bytes)?;
        progress(1);
        Ok(())
    })?;
    let mut facts = DemoFacts { images: images.len() as u32, wrong_labels: Vec::new(), near_duplicates: Vec::new() };
    for class in 0..spec.classes {
        let plan = Plan::new(spec, class);
        let name = |index: u32| path(Split::Train, class, index);
        facts.wrong_labels.extend(plan.wrong.iter().map(|&(index, _)| name(index)));
        facts.near_duplicates.extend(plan.again.iter().map(|&(copy, original)| (name(copy), name(original))));
    }
    Ok(facts)
}

/// One image of the set; nothing else is needed to paint it. `class` and `index` must lie within the spec.
pub fn picture(spec: &DemoSpec, split: Split, class: u32, index: u32) -> Rgb {
    let key = ((split as u32) << 16) | class;
    let plan = match split {
        Split::Train => Plan::new(spec, class),
        Split::Test => Plan::default(),
    };
    let shown = plan.wrong.iter().find(|(wrong, _)| *wrong == index).map_or(class, |&(_, shown)| shown);
    let original = plan.again.iter().find(|(copy, _)| *copy == index).map(|&(_, original)| original);
    let mut stream = Stream::new(spec.seed, Stage::Demo, key, u64::from(original.unwrap_or(index)));
    let (scene, mut camera) = scene::draw(shown as usize, &mut stream);
    if original.is_some() {
        stream = Stream::new(spec.seed, Stage::Demo, SECOND_PHOTOGRAPH | key, u64::from(index));
        camera = camera.again(&mut stream);
    }
    scene::render(&scene, &camera, spec.size, &mut stream)
}

/// Which training images of one class are not simply what their folder says.
#[derive(Default)]
struct Plan {
    /// Image, and the class that it really shows.
    wrong: Vec<(u32, u32)>,
    /// Image, and the image whose scene it shows again.
    again: Vec<(u32, u32)>,
}

impl Plan {
    fn new(spec: &DemoSpec, class: u32) -> Plan {
        let mut stream = Stream::new(spec.seed, Stage::Demo, PLAN | class, 0);
        let mut order: Vec<u32> = (0..spec.train_per_class).collect();
        stream.shuffle(&mut order);
        // Rounded over the classes so far, so that the whole set has its share even where a class has a fraction of one.
        let count = |share: f64| {
            let so_far = |classes: u32| (share * f64::from(spec.train_per_class) * f64::from(classes)).round();
            (so_far(class + 1) - so_far(class)) as usize
        };
        let mut next = order.into_iter();
        let wrong: Vec<u32> = next.by_ref().take(count(WRONG_LABELS)).collect();
        let copies: Vec<u32> = next.by_ref().take(count(NEAR_DUPLICATES)).collect();
        let other = |stream: &mut Stream| (class + 1 + stream.below(spec.classes - 1)) % spec.classes;
        let wrong = wrong.into_iter().map(|index| (index, other(&mut stream))).collect();
        Plan { wrong, again: copies.into_iter().zip(next).collect() }
    }
}

/// Every image of the set, in the order of the folders.
fn all(spec: &DemoSpec) -> Vec<(Split, u32, u32)> {
    let parts = [(Split::Train, spec.train_per_class), (Split::Test, spec.test_per_class)];
    let part = |(split, per_class): (Split, u32)| {
        (0..spec.classes).flat_map(move |class| (0..per_class).map(move |index| (split, class, index)))
    };
    parts.into_iter().flat_map(part).collect()
}

fn path(split: Split, class: u32, index: u32) -> String {
    let class = SHAPES[class as usize].name;
    format!("{}/{class}/{class}_{index:05}.png", split.name())
}

fn check(spec: &DemoSpec) -> Result<()> {
    let within = |what: &str, value: u32, low: u32, high: u32| -> Result<()> {
        if !(low..=high).contains(&value) {
            bail!("the demonstration cannot have {value} {what}: choose a number from {low} to {high}");
        }
        Ok(())
    };
    within("classes", spec.classes, 2, SHAPES.len() as u32)?;
    within("training images per class", spec.train_per_class, 1, 99_999)?;
    within("test images per class", spec.test_per_class, 1, 99_999)?;
    within("pixels per side", spec.size, 16, 1024)
}

/// Refuses a folder with files that this set would not write: readers could not tell the two apart.
fn refuse_strangers(dir: &Path, spec: &DemoSpec, images: &[(Split, u32, u32)]) -> Result<()> {
    let ours: HashSet<_> = images.iter().map(|&(split, class, index)| dir.join(path(split, class, index))).collect();
    let classes: HashSet<_> = SHAPES[..spec.classes as usize].iter().map(|shape| shape.name).collect();
    for split in [Split::Train, Split::Test] {
        for folder in entries(&dir.join(split.name()))? {
            let known = folder.file_name().and_then(|name| name.to_str()).is_some_and(|name| classes.contains(name));
            let inside = if known { entries(&folder)? } else { vec![folder] };
            let stranger = inside.iter().find(|file| {
                // A killed run leaves one of these per thread; it will be replaced.
                let unfinished = file.extension().is_some_and(|ending| ending == files::PARTIAL);
                !ours.contains(&if unfinished { file.with_extension("") } else { (*file).clone() })
            });
            if let Some(stranger) = stranger {
                bail!(
                    "`{}` is not part of this demonstration: remove `{}`, or write to another folder",
                    stranger.display(),
                    dir.display()
                );
            }
        }
    }
    Ok(())
}

/// What lies in a folder, in order of name; nothing if there is no such folder.
fn entries(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let reader = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        reader => reader.with_context(|| format!("cannot list the folder `{}`", folder.display()))?,
    };
    let paths: std::io::Result<Vec<_>> = reader.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.with_context(|| format!("cannot list the folder `{}`", folder.display()))?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn small() -> DemoSpec {
        DemoSpec { classes: 3, train_per_class: 34, test_per_class: 4, size: 16, seed: 5 }
    }

    /// Every file under `dir`, by its path from there.
    fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![dir.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in entries(&folder).expect("a folder") {
                if entry.is_dir() {
                    folders.push(entry);
                } else {
                    let name = entry.strip_prefix(dir).expect("inside").display().to_string();
                    found.insert(name, std::fs::read(&entry).expect("a file"));
                }
            }
        }
        found
    }

    fn written(spec: &DemoSpec, threads: usize) -> (BTreeMap<String, Vec<u8>>, DemoFacts) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let facts = pool.install(|| write(dir.path(), spec, &|_| ())).expect("written");
        (contents(dir.path()), facts)
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_on_one_and_two_threads_and_another_seed_others() {
        let (one, facts) = written(&small(), 1);
        let (two, again) = written(&small(), 2);
        assert!(one == two);
        assert_eq!(facts, again);
        let (other, _) = written(&DemoSpec { seed: 6, ..small() }, 2);
        assert!(one.keys().eq(other.keys()) && one.iter().all(|(name, bytes)| other[name] != *bytes));
    }

    #[test]
    fn the_folder_is_what_the_spec_says() {
        let spec = small();
        let (files, facts) = written(&spec, 2);
        let names: Vec<String> = all(&spec).iter().map(|&(split, class, index)| path(split, class, index)).collect();
        assert_eq!(names[0], "train/disc/disc_00000.png");
        assert_eq!(names[names.len() - 1], "test/square/square_00003.png");
        assert_eq!((names.len(), facts.images), (3 * 38, 3 * 38));
        assert!(names.iter().all(|name| files.contains_key(name)) && files.len() == names.len());
        let distinct: HashSet<_> = files.values().collect();
        assert_eq!(distinct.len(), files.len(), "no two files are equal");
    }

    /// Grey values less their mean, divided by their norm.
    fn normalised(picture: &Rgb) -> Vec<f32> {
        let grey: Vec<f32> = picture.data.chunks(3).map(|p| p.iter().map(|&c| f32::from(c)).sum()).collect();
        let mean = grey.iter().sum::<f32>() / grey.len() as f32;
        let norm = grey.iter().map(|v| (v - mean).powi(2)).sum::<f32>().sqrt();
        grey.iter().map(|v| (v - mean) / norm).collect()
    }

    #[test]
    fn wrong_labels_and_near_duplicates_are_as_many_as_stated_and_only_in_training() {
        let spec = DemoSpec { train_per_class: 50, ..small() };
        let (mut wrong, mut again) = (0, 0);
        for class in 0..spec.classes {
            let plan = Plan::new(&spec, class);
            let special: HashSet<u32> = plan.wrong.iter().chain(&plan.again).map(|pair| pair.0).collect();
            assert_eq!(special.len(), plan.wrong.len() + plan.again.len());
            assert!(plan.wrong.iter().all(|&(_, shown)| shown != class && shown < spec.classes));
            assert!(plan.again.iter().all(|(_, original)| !special.contains(original)));
            for &(copy, original) in &plan.again {
                let [a, b] = [copy, original].map(|index| normalised(&picture(&spec, Split::Train, class, index)));
                let likeness: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
                assert!(likeness > 0.5, "{class} {copy} {original}: {likeness}");
            }
            wrong += plan.wrong.len();
            again += plan.again.len();
        }
        // 3 % and 4 % of 150, rounded.
        assert_eq!((wrong, again), (5, 6));
        let scene_of =
            |class: u32| scene::draw(class as usize, &mut Stream::new(spec.seed, Stage::Demo, 1 << 16 | 1, 2));
        let (scene, camera) = scene_of(1);
        let mut stream = Stream::new(spec.seed, Stage::Demo, 1 << 16 | 1, 2);
        scene::draw(1, &mut stream);
        assert_eq!(picture(&spec, Split::Test, 1, 2), scene::render(&scene, &camera, spec.size, &mut stream));
    }

    #[test]
    fn a_spec_out_of_range_is_an_error_with_its_remedy() {
        let refused = |spec: DemoSpec| {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let error = write(dir.path(), &spec, &|_| ()).expect_err("refused").to_string();
            assert!(contents(dir.path()).is_empty());
            error
        };
        let many = refused(DemoSpec { classes: SHAPES.len() as u32 + 1, ..small() });
        assert_eq!(many, "the demonstration cannot have 13 classes: choose a number from 2 to 12");
        assert!(refused(DemoSpec { size: 0, ..small() }).contains("pixels per side"));
        assert!(refused(DemoSpec { train_per_class: 0, ..small() }).contains("training images"));
    }

    #[test]
    fn a_broken_run_is_finished_and_another_set_is_left_alone() {
        let spec = DemoSpec { train_per_class: 3, test_per_class: 2, ..small() };
        let (whole, _) = written(&spec, 2);
        let dir = tempfile::tempdir().expect("a temporary folder");
        let name = dir.path().join("train/disc/disc_00001.png");
        files::write_bytes(&files::partial_of(&name), b"half").expect("written");
        files::write_bytes(&name, b"damaged").expect("written");
        write(dir.path(), &spec, &|_| ()).expect("finished");
        assert!(contents(dir.path()) == whole);

        let fewer = DemoSpec { train_per_class: 2, ..spec };
        let error = write(dir.path(), &fewer, &|_| ()).expect_err("a stranger").to_string();
        assert!(error.contains("disc_00002.png") && error.contains("another folder"), "{error}");
        assert!(contents(dir.path()) == whole);
    }
}
