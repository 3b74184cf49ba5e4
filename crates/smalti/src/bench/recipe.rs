//! Bench recipes: what is compared, on what, and how every row is trained.

use crate::error::{failure, usage};
use crate::presets::preset;
use crate::recipe::{ProxyRecipe, ProxySettings, Recipe, parse};
use crate::students::{Training, TrainingRecipe};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use smalti_select::{Choice, HardEnd, Metric};
use std::path::{Path, PathBuf};

/// A bench recipe file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BenchRecipe {
    /// Name of the comparison.
    pub name: String,
    /// One line for its page.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// The labelled set; a path as seen from the folder of this file.
    pub source: PathBuf,
    /// Where the test images are, if not in the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// Side of the stored images in pixels.
    pub size: u32,
    /// Budgets, in images per class.
    pub ipc: Vec<u32>,
    /// Seeds, counted from 0: each changes proxies, draw and student together.
    pub seeds: u64,
    /// Part of the training images that measures crop ranges and is in no set.
    #[serde(default = "a_tenth")]
    pub holdout: f64,
    /// How students are trained.
    #[serde(default)]
    pub training: TrainingRecipe,
    /// Among which crop ranges each row chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<CropChoice>,
    /// Metrics to compute besides those of the rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<String>,
    /// The scoring networks.
    #[serde(default)]
    pub proxy: ProxyRecipe,
    /// What is compared.
    pub row: Vec<RowRecipe>,
}

fn a_tenth() -> f64 {
    0.1
}

/// Crop ranges to choose among on the hold-out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CropChoice {
    /// Smallest areas of a crop, as parts of its tile or image.
    pub min: Vec<f64>,
    /// Students per range.
    pub seeds: u64,
}

/// One method.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RowRecipe {
    /// Name in tables; the preset's if none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where metric, rule and grid come from.
    pub preset: String,
    /// Instead of the preset's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grid: Option<u32>,
    /// Instead of the preset's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Instead of the preset's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Which end of the metric is hard, where it is none of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_end: Option<HardEnd>,
    /// Instead of the training's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub augment: Option<String>,
}

/// A checked recipe.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// As given.
    pub recipe: BenchRecipe,
    /// The labelled set.
    pub source: PathBuf,
    /// Where the test images are.
    pub test: PathBuf,
    /// What is compared.
    pub rows: Vec<Row>,
    /// Name of the row that gains are measured against.
    pub baseline: String,
    /// Smallest crop areas to choose among; one is no choice.
    pub crops: Vec<f64>,
    /// Students per crop range on the hold-out.
    pub crop_seeds: u64,
    /// The scoring networks.
    pub proxy: ProxySettings,
    /// Every metric that is computed, each once, by name.
    pub metrics: Vec<Metric>,
}

/// One method, complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Name in tables and file names.
    pub name: String,
    /// One sentence.
    pub about: String,
    /// Settings of `compress`, but for ipc and seed.
    pub recipe: Recipe,
    /// What its rule decides by, where it needs scores.
    pub metric: Option<Metric>,
    /// Its rule.
    pub choice: Choice,
    /// How its students are trained, but for the crop range.
    pub training: Training,
}

impl BenchRecipe {
    /// Reads a recipe file. Paths in it are as seen from its folder.
    ///
    /// # Errors
    /// When it cannot be read or has an unknown key.
    pub fn read(path: &Path) -> Result<BenchRecipe> {
        let text = String::from_utf8(smalti_data::files::read(path)?)
            .map_err(|_| failure(format!("the recipe `{}` is not UTF-8 text", path.display()), "save it as UTF-8"))?;
        parse(&text).with_context(|| format!("in the recipe `{}`", path.display()))
    }

    /// Checks everything before any work; `folder` is where relative paths start.
    ///
    /// # Errors
    /// For names that are in no list, numbers out of range, rows with one name, and a comparison without the random baseline.
    pub fn settle(self, folder: &Path) -> Result<Plan> {
        if self.ipc.is_empty() || self.seeds == 0 {
            return Err(usage("the recipe asks for no cell", "give `ipc = [10]` and `seeds = 3`"));
        }
        let rows = self.row.iter().map(|row| self.settle_row(row)).collect::<Result<Vec<Row>>>()?;
        for (at, row) in rows.iter().enumerate() {
            if rows[..at].iter().any(|other| other.name == row.name) {
                return Err(usage(format!("two rows are called `{}`", row.name), "give each a `name` of its own"));
            }
        }
        let random = |row: &&Row| row.recipe.rule.as_deref() == Some("random") && row.recipe.grid == Some(1);
        let baseline = rows.iter().find(random).map(|row| row.name.clone()).ok_or_else(|| {
            usage("no row is a random subset, so no gain can be stated", "add `[[row]]` with `preset = \"random\"`")
        })?;
        let (crops, crop_seeds) = match &self.crop {
            Some(choice) if choice.min.is_empty() || choice.seeds == 0 => {
                return Err(usage(
                    "[crop] offers no choice",
                    "give `min = [0.08, 0.25]` and `seeds = 1`, or leave it out",
                ));
            }
            Some(choice) => (choice.min.clone(), choice.seeds),
            None => (vec![rows[0].training.crop.scale.0], 0),
        };
        for &min in &crops {
            TrainingRecipe { crop_min: Some(min), ..self.training.clone() }.settle()?;
        }
        let metrics = self.all_metrics(&rows)?;
        let test = self.test.as_ref().unwrap_or(&self.source);
        Ok(Plan {
            source: folder.join(&self.source),
            test: folder.join(test),
            baseline,
            crops,
            crop_seeds,
            proxy: self.proxy.settle(self.size)?,
            metrics,
            rows,
            recipe: self,
        })
    }

    /// The metrics of the rows and those asked for besides, each once.
    fn all_metrics(&self, rows: &[Row]) -> Result<Vec<Metric>> {
        let epochs = self.proxy.settle(self.size)?.epochs;
        let named = self.metrics.iter().map(|name| smalti_select::metric(name, None));
        let mut metrics = named.collect::<smalti_select::Result<Vec<Metric>>>()?;
        metrics.extend(rows.iter().filter_map(|row| row.metric.clone()));
        metrics.sort_by(|a, b| a.name.cmp(&b.name));
        metrics.dedup();
        if let Some(pair) = metrics.windows(2).find(|pair| pair[0].name == pair[1].name) {
            let what = format!("two rows mean different things by the metric `{}`", pair[0].name);
            return Err(usage(what, "give each expression a name of its own"));
        }
        for metric in &metrics {
            smalti_select::check_metric(metric, epochs)?;
        }
        Ok(metrics)
    }

    /// The first row that `other` has under the same name with other settings.
    pub fn contradiction(&self, other: &BenchRecipe) -> Option<String> {
        let name = |row: &RowRecipe| row.name.clone().unwrap_or_else(|| row.preset.clone());
        let differs = |row: &&RowRecipe| other.row.iter().any(|o| name(o) == name(row) && o != *row);
        self.row.iter().find(differs).map(name)
    }

    fn settle_row(&self, row: &RowRecipe) -> Result<Row> {
        let preset = preset(&row.preset)?;
        let recipe = Recipe {
            ipc: self.ipc.first().copied(),
            preset: Some(row.preset.clone()),
            grid: row.grid.or(Some(preset.grid)),
            metric: row.metric.clone().or(preset.metric.map(str::to_owned)),
            hard_end: row.hard_end,
            rule: row.rule.clone().or(Some(preset.rule.to_owned())),
            size: Some(self.size),
            holdout: Some(self.holdout),
            proxy: self.proxy.clone(),
            ..Recipe::default()
        };
        let settled = recipe.settle("check", self.size)?;
        let metric = settled.metric.as_deref().map(|spec| smalti_select::metric(spec, row.hard_end)).transpose()?;
        let choice = smalti_select::rule(&settled.rule)?;
        let training =
            TrainingRecipe { augment: row.augment.clone().or(self.training.augment.clone()), ..self.training.clone() };
        let name = row.name.clone().unwrap_or_else(|| row.preset.clone());
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_+.".contains(c)) {
            return Err(usage(
                format!("a row cannot be called `{name}`"),
                "use letters, digits and -_+. : it becomes a file name",
            ));
        }
        let about = match (&row.rule, &row.metric) {
            (None, None) => preset.about.to_owned(),
            _ => choice.rule.about.to_owned(),
        };
        Ok(Row { name, about, recipe, metric, choice, training: training.settle()? })
    }

    /// The same with paths as seen from `to` instead of from `from`.
    pub fn moved(mut self, from: &Path, to: &Path) -> BenchRecipe {
        self.source = relative(&from.join(&self.source), to);
        self.test = self.test.map(|test| relative(&from.join(test), to));
        self
    }

    /// The part that cells of one folder must share. Where the images lie may differ between machines; their hash may not.
    pub fn fixed_part(&self) -> BenchRecipe {
        let test = self.test.as_ref().map(|_| PathBuf::new());
        let free =
            BenchRecipe { ipc: vec![], seeds: 1, row: vec![], metrics: vec![], about: String::new(), ..self.clone() };
        BenchRecipe { source: PathBuf::new(), test, ..free }
    }

    /// The recipe as a file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings are tables of numbers and strings")
    }
}

/// `path` as seen from the folder `from`; as it is where one of them does not exist.
fn relative(path: &Path, from: &Path) -> PathBuf {
    let (Ok(path), Ok(from)) = (path.canonicalize(), from.canonicalize()) else { return path.to_owned() };
    let shared = path.components().zip(from.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| PathBuf::from(".."));
    up.chain(path.components().skip(shared).map(|c| PathBuf::from(c.as_os_str()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::hint_of;

    pub(crate) const SMALL: &str = r#"
name = "small"
source = "images"
size = 32
ipc = [2, 5]
seeds = 2
[training]
student = "convnet-3"
protocol = "small"
[crop]
min = [0.1, 0.5]
seeds = 1
[[row]]
preset = "random"
[[row]]
preset = "pca"
[[row]]
name = "pca-uncut"
preset = "pca"
augment = "standard"
"#;

    #[test]
    fn a_recipe_becomes_a_plan() {
        let plan = parse::<BenchRecipe>(SMALL).expect("a recipe").settle(Path::new("here")).expect("a plan");
        assert_eq!((plan.baseline.as_str(), plan.test.as_path()), ("random", Path::new("here/images")));
        let names: Vec<_> = plan.rows.iter().map(|row| (row.name.as_str(), row.training.augment.name())).collect();
        assert_eq!(names, [("random", "constrained"), ("pca", "constrained"), ("pca-uncut", "standard")]);
        assert_eq!(parse::<BenchRecipe>(&plan.recipe.to_toml()).expect("it parses again"), plan.recipe);
    }

    #[test]
    fn recipes_that_cannot_be_compared_are_refused() {
        for (from, to) in [
            ("preset = \"random\"", "preset = \"el2n-easy\""),
            ("name = \"pca-uncut\"", "name = \"pca\""),
            ("name = \"pca-uncut\"", "name = \"a/b\""),
            ("ipc = [2, 5]", "ipc = []"),
            ("min = [0.1, 0.5]", "min = [0.1, 1.5]"),
            ("augment = \"standard\"", "augment = \"standart\""),
            ("seeds = 2\n", "seeds = 2\nsead = 1\n"),
        ] {
            let text = SMALL.replacen(from, to, 1);
            let error = parse::<BenchRecipe>(&text).and_then(|r| r.settle(Path::new("."))).expect_err(to);
            assert!(hint_of(&error).is_some(), "{to}: {error}");
        }
    }

    #[test]
    fn paths_move_with_the_recipe() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for folder in ["a/data", "b/out"] {
            std::fs::create_dir_all(dir.path().join(folder)).expect("created");
        }
        let seen = relative(&dir.path().join("a/data"), &dir.path().join("b/out"));
        assert_eq!(seen, Path::new("../../a/data"));
    }
}
