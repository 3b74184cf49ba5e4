//! Budgets: how many samples each class may keep, and what happens to a class that has fewer.

use crate::error::{Error, Result};
use crate::names::first_few;
use crate::rules::Balance;
use smalti_data::mosaic::Layout;

/// How many samples each class keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Samples per class: ipc × grid².
    pub per_class: u32,
    /// Samples per written image, grid². A class that is too small keeps a whole number of images.
    pub multiple: u32,
    /// What to do with a class that is too small.
    pub on_small_class: OnSmallClass,
}

/// What to do with a class that has fewer samples than the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnSmallClass {
    /// Stop with an error that names the class, the need and the remedy.
    Refuse,
    /// Keep as many whole images as the class fills, at least one.
    Fewer,
}

/// What a class's count counts; it decides the words of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Usable training images.
    Usable,
    /// Samples kept by a selection made elsewhere.
    Given,
}

impl Budget {
    /// The budget for `ipc` written images per class in this layout.
    ///
    /// # Errors
    /// [`Error::Input`] when that is no sample at all, or more than can be counted.
    pub fn new(ipc: u32, layout: &Layout, on_small_class: OnSmallClass) -> Result<Budget> {
        let multiple = layout.samples_per_image();
        let per_class = ipc.checked_mul(multiple).ok_or_else(|| {
            Error::input(
                format!("{ipc} images of {multiple} tiles are more samples than can be counted"),
                "lower --ipc or --grid",
            )
        })?;
        let budget = Budget { per_class, multiple, on_small_class };
        budget.is_whole()?;
        Ok(budget)
    }

    /// Checks that a rule with this balance finds enough to choose from, before anything is scored.
    ///
    /// # Errors
    /// As [`crate::select`] for a class, or a whole set, that is too small.
    pub fn check(&self, balance: Balance, counts: &[usize], classes: &[String]) -> Result<()> {
        match balance {
            Balance::Class => self.quotas(counts, classes, Counted::Usable).map(|_| ()),
            Balance::Global => self.in_all(classes.len(), counts.iter().sum(), Counted::Usable).map(|_| ()),
        }
    }

    /// Samples of each class in whole images, when a pool kept `kept` of each: every class its whole images, then one more for the classes
    /// with the most samples left over, until there are as many images as the pool fills.
    pub(crate) fn whole_images(&self, kept: &[u32], sizes: &[usize]) -> Vec<u32> {
        let multiple = self.multiple.max(1);
        let mut images: Vec<u32> = kept.iter().map(|&count| count / multiple).collect();
        let mut left = kept.iter().sum::<u32>() / multiple - images.iter().sum::<u32>();
        let mut order: Vec<usize> = (0..kept.len()).collect();
        order.sort_by_key(|&class| std::cmp::Reverse(kept[class] % multiple));
        let fits = |images: &[u32], class: usize| (images[class] as usize + 1) * multiple as usize <= sizes[class];
        while left > 0 {
            let before = left;
            for &class in &order {
                if left > 0 && fits(&images, class) {
                    images[class] += 1;
                    left -= 1;
                }
            }
            if left == before {
                break;
            }
        }
        images.into_iter().map(|images| images * multiple).collect()
    }

    /// How many samples a global rule keeps of `count` in `classes` classes.
    ///
    /// # Errors
    /// [`Error::Input`] when there are fewer, or the budget is none.
    pub(crate) fn in_all(&self, classes: usize, count: usize, counted: Counted) -> Result<u32> {
        self.is_whole()?;
        let wanted = u64::from(self.per_class) * classes as u64;
        let few = self.on_small_class == OnSmallClass::Refuse && wanted > count as u64;
        if few || count == 0 {
            let (what, more) = match counted {
                Counted::Usable => ("usable training images", ""),
                Counted::Given => ("samples of the given selection", ", keep more in it"),
            };
            return Err(Error::input(
                format!("{count} {what} are fewer than the {wanted} samples needed (ipc x grid² x classes)"),
                format!("lower --ipc or --grid{more}, or keep what there is: `--on-small-class fewer`"),
            ));
        }
        Ok(wanted.min(count as u64) as u32)
    }

    /// How many each class keeps, in class order.
    ///
    /// # Errors
    /// [`Error::Input`] that names the classes without a sample; those that are too small under [`OnSmallClass::Refuse`]; those
    /// that do not fill one image under [`OnSmallClass::Fewer`]. Also for a budget of nothing.
    pub(crate) fn quotas(&self, counts: &[usize], classes: &[String], counted: Counted) -> Result<Vec<u32>> {
        self.is_whole()?;
        let short = |least: u32| -> Vec<Short> {
            let of = |(count, class): (&usize, &String)| Short { class: class.clone(), count: *count };
            counts.iter().zip(classes).filter(|(count, _)| **count < least as usize).map(of).collect()
        };
        let empty = short(1);
        if !empty.is_empty() && counted == Counted::Usable {
            return Err(Error::input(
                format!("{} no usable training image: {}", have(empty.len(), classes.len()), first_few(&names(&empty))),
                "add images to it or remove the class; `smalti inspect` counts the images of each class and names the unreadable",
            ));
        }
        match self.on_small_class {
            OnSmallClass::Refuse => self.refuse(short(self.per_class), classes.len(), counted)?,
            OnSmallClass::Fewer => self.refuse_less_than_one_image(short(self.multiple), classes.len(), counted)?,
        }
        Ok(counts.iter().map(|&count| self.keep_of(count)).collect())
    }

    fn is_whole(&self) -> Result<()> {
        if self.per_class == 0 || self.multiple == 0 || !self.per_class.is_multiple_of(self.multiple) {
            return Err(Error::input(
                format!(
                    "a budget of {} samples per class in images of {} is no whole image",
                    self.per_class, self.multiple
                ),
                "choose --ipc 1 or more and --grid 1 or more",
            ));
        }
        Ok(())
    }

    fn keep_of(&self, count: usize) -> u32 {
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(self.per_class);
        count / self.multiple * self.multiple
    }

    fn refuse(&self, short: Vec<Short>, classes: usize, counted: Counted) -> Result<()> {
        let Some(least) = short.iter().map(|s| s.count).min() else { return Ok(()) };
        let what = format!(
            "{} fewer than the {} samples needed (ipc x grid²): {}",
            have(short.len(), classes),
            self.per_class,
            first_few(&counted.describe(&short))
        );
        // The largest ipc that the smallest class allows, where there is one.
        let ipc = match least / self.multiple as usize {
            0 => "lower `--ipc` or `--grid`".to_owned(),
            most => format!("lower `--ipc` to {most} at most, or lower `--grid`"),
        };
        let more = match counted {
            Counted::Usable => "",
            Counted::Given => ", or keep more samples in the given selection",
        };
        Err(Error::input(
            what,
            format!("{ipc}{more}, or let small classes keep what they have: `--on-small-class fewer`"),
        ))
    }

    fn refuse_less_than_one_image(&self, short: Vec<Short>, classes: usize, counted: Counted) -> Result<()> {
        if short.is_empty() {
            return Ok(());
        }
        Err(Error::input(
            format!(
                "{} fewer than the {} samples of one image (grid²): {}",
                have(short.len(), classes),
                self.multiple,
                first_few(&counted.describe(&short))
            ),
            match counted {
                Counted::Usable => "lower `--grid`, or remove the class",
                Counted::Given => "lower `--grid`, or keep more samples in the given selection",
            },
        ))
    }
}

/// A class with too few samples.
struct Short {
    class: String,
    count: usize,
}

impl Counted {
    fn describe(self, short: &[Short]) -> Vec<String> {
        let verb = match self {
            Counted::Usable => "has",
            Counted::Given => "keeps",
        };
        short.iter().map(|s| format!("`{}` {verb} {}", s.class, s.count)).collect()
    }
}

fn names(short: &[Short]) -> Vec<String> {
    short.iter().map(|s| format!("`{}`", s.class)).collect()
}

/// `1 of 10 classes has`, `2 of 10 classes have`.
fn have(short: usize, classes: usize) -> String {
    format!("{short} of {classes} classes {}", if short == 1 { "has" } else { "have" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::classes;

    fn quotas(counts: &[usize], on_small_class: OnSmallClass) -> Result<Vec<u32>> {
        let budget = Budget { per_class: 12, multiple: 4, on_small_class };
        budget.quotas(counts, &classes(counts.len() as u32), Counted::Usable)
    }

    #[test]
    fn every_class_that_is_large_enough_keeps_the_budget() {
        assert_eq!(quotas(&[12, 13, 4000], OnSmallClass::Refuse).expect("enough"), [12, 12, 12]);
    }

    #[test]
    fn small_classes_are_named_with_need_and_remedy() {
        let error = quotas(&[9, 12, 11], OnSmallClass::Refuse).expect_err("two are too small");
        let words =
            "2 of 3 classes have fewer than the 12 samples needed (ipc x grid²): `class-0` has 9, `class-2` has 11";
        assert_eq!(error.to_string(), words);
        let hint = error.hint().expect("a hint");
        for remedy in ["`--ipc` to 2 at most", "`--grid`", "`--on-small-class fewer`"] {
            assert!(hint.contains(remedy), "{hint}");
        }
        let error = quotas(&[1; 9], OnSmallClass::Refuse).expect_err("all are too small");
        assert!(error.to_string().ends_with("`class-4` has 1 and 4 more"), "{error}");
    }

    #[test]
    fn fewer_keeps_whole_images_and_at_least_one() {
        assert_eq!(quotas(&[12, 11, 8, 7, 4], OnSmallClass::Fewer).expect("whole images"), [12, 8, 8, 4, 4]);
        let error = quotas(&[12, 3], OnSmallClass::Fewer).expect_err("less than one image");
        assert!(error.to_string().contains("4 samples of one image (grid²): `class-1` has 3"), "{error}");
    }

    #[test]
    fn an_empty_class_is_refused_in_both_ways() {
        for way in [OnSmallClass::Refuse, OnSmallClass::Fewer] {
            let error = quotas(&[12, 0], way).expect_err("an empty class");
            assert_eq!(error.to_string(), "1 of 2 classes has no usable training image: `class-1`");
        }
    }

    #[test]
    fn a_budget_is_checked_before_it_is_used() {
        let layout = Layout { grid: 2, size: 64 };
        let budget = Budget::new(10, &layout, OnSmallClass::Refuse).expect("fine");
        assert_eq!((budget.per_class, budget.multiple), (40, 4));
        assert!(Budget::new(0, &layout, OnSmallClass::Refuse).is_err());
        assert!(Budget::new(u32::MAX, &layout, OnSmallClass::Refuse).is_err());
        let crooked = Budget { per_class: 3, multiple: 2, on_small_class: OnSmallClass::Fewer };
        assert!(crooked.quotas(&[5], &classes(1), Counted::Usable).is_err());
    }
}
