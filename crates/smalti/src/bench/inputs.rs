//! What comes from outside is what it was and what it is taken for: source and test images, sets made elsewhere.

use super::cells::{Job, budget_name};
use super::lab::Torch;
use super::pins::pin_as;
use super::plan::{ALL, Plan};
use crate::error::failure;
use crate::sources::{TrainSet, label_hash, train_rows};
use crate::ui::{Ui, count};
use anyhow::Result;
use smalti_data::files;
use smalti_data::mosaic::Layout;
use smalti_data::tables::{ContentHash, Samples, Split};
use smalti_data::write::source_hash;
use smalti_select::{Budget, OnSmallClass};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

impl Torch<'_> {
    /// That the set of a row made elsewhere is still the one that earlier cells were made from; says once what a reader of its row should know.
    ///
    /// # Errors
    /// When it is another.
    pub(super) fn check_foreign(&mut self, set: &TrainSet, job: &Job) -> Result<()> {
        let row = &job.row.name;
        {
            let _alone = self.alone("inputs")?;
            let name = format!("set of {row} ipc {}", budget_name(job.ipc));
            // Older folders hold the contents alone.
            pin_as(self.out, &name, &set.identity(), &set.hash())?;
        }
        let images = self.images()?;
        let shown = [
            ("test", set.shows(images.test_set.usable())),
            ("hold-out", set.shows(images.source.samples.usable(Split::Holdout))),
        ];
        for (what, images) in shown.into_iter().filter(|(_, images)| *images > 0) {
            let images = count(images as u64, &format!("{what} image"));
            self.warn_once(format!("the set of the row `{row}` shows {images}: its accuracy there is too high"));
        }
        odd_budget(row, job.ipc, set.images_per_class()).into_iter().for_each(|text| self.warn_once(text));
        Ok(())
    }

    fn warn_once(&mut self, text: String) {
        if !self.said.contains(&text) {
            self.ui.warn(&text);
            self.said.insert(text);
        }
    }
}

/// What is to be said of a set whose classes do not have as many images as its budget says.
fn odd_budget(row: &str, ipc: u32, (fewest, most): (u64, u64)) -> Option<String> {
    let budget = u64::from(ipc);
    if ipc == ALL || (fewest, most) == (budget, budget) {
        return None;
    }
    let range = if fewest == most { String::new() } else { format!("{fewest} to ") };
    let found = range + &count(most, "image");
    Some(format!(
        "the set of the row `{row}` has {found} per class and stands in the table at {ipc}: rows of that budget are of another size"
    ))
}

/// Gives the labels of a set the meaning of those of the test images: classes are matched by name.
///
/// # Errors
/// When its classes are not exactly those of the source.
pub(super) fn match_classes(set: &mut TrainSet, classes: &[String], row: &str) -> Result<()> {
    set.match_classes(classes).map_err(|how| {
        failure(
            format!("the set of the row `{row}` has other classes than the source: it {how}"),
            "classes are matched by name; give the row a `class-map`: a file with the names of its classes in the order of its labels",
        )
    })
}

/// Says of which rows a class has too few images, before proxies train for hours for cells that will fail.
pub(super) fn warn_of_small_classes(plan: &Plan, samples: &Samples, ui: &Ui) {
    let counts: Vec<usize> = train_rows(samples).iter().map(Vec::len).collect();
    for row in &plan.rows {
        let Some(making) = row.making() else { continue };
        let layout = Layout { grid: row.grid(plan.recipe.size), size: plan.recipe.size };
        for &ipc in &row.budgets {
            let budget = Budget::new(ipc, &layout, OnSmallClass::Refuse);
            let checked = budget.and_then(|budget| budget.check(making.choice.balance, &counts, &samples.classes));
            if let Err(error) = checked {
                ui.warn(format!("the row `{}` cannot be made at {ipc} images per class: {error}", row.name));
            }
        }
    }
}

fn source_file(out: &Path) -> PathBuf {
    out.join("scores/source.txt")
}

/// Scores and cells belong to their images, whose hashes lie beside the scores: nothing from another machine is joined to other images.
///
/// # Errors
/// When they are others than those of `out`.
pub(super) fn keep_source_hash(out: &Path, source: &Samples, test: Option<&Samples>) -> Result<()> {
    let path = source_file(out);
    let both = [Some(source), test];
    let contents: String = both.into_iter().flatten().map(|samples| source_hash(samples) + "\n").collect();
    let labels: String = both.into_iter().flatten().map(|samples| format!("labels {}\n", labels_of(samples))).collect();
    let text = contents.clone() + &labels;
    if !path.exists() {
        return Ok(files::write_bytes(&path, text.as_bytes())?);
    }
    // Older folders hold the contents alone.
    let before = files::read(&path)?;
    if before == text.as_bytes() || before == contents.as_bytes() {
        return Ok(());
    }
    Err(failure(
        format!("`{}` was made from other images than those of the recipe", out.display()),
        "give the images it was made from, or another --out",
    ))
}

/// Whether these are the images that the cells of `out` were made from, as far as that is on record.
///
/// # Errors
/// When the record cannot be read.
pub(super) fn is_source_of(out: &Path, samples: &Samples) -> Result<bool> {
    let path = source_file(out);
    if !path.exists() {
        return Ok(true);
    }
    let text = String::from_utf8_lossy(&files::read(&path)?).into_owned();
    // The source comes before test images from elsewhere.
    let contents = text.lines().next() == Some(source_hash(samples).as_str());
    let labels = text.lines().find_map(|line| line.strip_prefix("labels "));
    Ok(contents && labels.is_none_or(|labels| labels == labels_of(samples)))
}

/// Which class each image is in.
fn labels_of(samples: &Samples) -> String {
    label_hash(samples.rows.iter().map(|sample| sample.class_id))
}

/// Says how many test images are also trained on.
pub(super) fn warn_of_leaks(train: &Samples, test: &Samples, elsewhere: bool, ui: &Ui) {
    let seen: HashSet<ContentHash> = train.usable(Split::Train).map(|s| s.content_hash).collect();
    let split = if !elsewhere || test.usable(Split::Test).next().is_some() { Split::Test } else { Split::Train };
    let leaks = test.usable(split).filter(|s| seen.contains(&s.content_hash)).count();
    if leaks > 0 {
        ui.warn(format!("{leaks} test images are also training images; every row's accuracy is that much too high"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smalti_data::tables::{Sample, Status};

    fn samples(classes: &[u32]) -> Samples {
        let row = |(sample, &class_id): (u32, &u32)| Sample {
            sample,
            content_hash: ContentHash::of(&sample.to_be_bytes()),
            class_id,
            split: Split::Train,
            width: 1,
            height: 1,
            bytes: 1,
            status: Status::Ok,
        };
        Samples { rows: (0..).zip(classes).map(row).collect(), ..Samples::default() }
    }

    #[test]
    fn a_folder_knows_its_images_by_contents_and_labels() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (own, relabelled, fewer) = (samples(&[0, 1, 1]), samples(&[1, 0, 0]), samples(&[0, 1]));
        assert!(is_source_of(dir.path(), &fewer).expect("nothing is on record"));
        keep_source_hash(dir.path(), &own, Some(&fewer)).expect("the first");
        keep_source_hash(dir.path(), &own, Some(&fewer)).expect("the same");
        let error = keep_source_hash(dir.path(), &relabelled, Some(&fewer)).expect_err("other labels").to_string();
        assert!(error.contains("was made from other images"), "{error}");
        let is = |samples| is_source_of(dir.path(), samples).expect("readable");
        assert_eq!([is(&own), is(&relabelled), is(&fewer)], [true, false, false]);

        // What earlier versions wrote.
        let older = source_hash(&own) + "\n";
        std::fs::write(source_file(dir.path()), older).expect("written");
        keep_source_hash(dir.path(), &own, None).expect("the same images");
        assert_eq!([is(&own), is(&relabelled), is(&fewer)], [true, true, false]);
    }

    #[test]
    fn a_set_of_another_size_than_its_budget_is_pointed_out() {
        assert_eq!(odd_budget("a", 5, (5, 5)), None);
        assert_eq!(odd_budget("a", ALL, (1, 9)), None);
        let said = odd_budget("a", 5, (1, 1)).expect("fewer");
        assert!(
            said.starts_with("the set of the row `a` has 1 image per class and stands in the table at 5"),
            "{said}"
        );
        let said = odd_budget("a", 5, (0, 2000)).expect("uneven");
        assert!(said.contains("has 0 to 2,000 images per class"), "{said}");
    }
}
