//! A recipe checked and completed: every name known, every number in range, before any work.

use super::recipe::{BenchRecipe, RowRecipe};
use super::teacher::PlannedTeacher;
use crate::distill::Tuning;
use crate::distill::list::{Distillation, distillation};
use crate::error::{of_call, usage};
use crate::presets::preset;
use crate::proxies::ProxySettings;
use crate::recipe::Recipe;
use crate::students::{Training, TrainingRecipe};
use anyhow::Result;
use smalti_data::source::SourceOptions;
use smalti_select::{Balance, Choice, Metric};
use std::path::{Path, PathBuf};

/// The most seeds that are taken for meant.
const MOST_SEEDS: u64 = 10_000;

/// A checked recipe.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// As given.
    pub recipe: BenchRecipe,
    /// The labelled set.
    pub source: PathBuf,
    /// Where the test images are.
    pub test: PathBuf,
    /// How both are read.
    pub reading: SourceOptions,
    /// What is compared.
    pub rows: Vec<Row>,
    /// Name of the row that gains are measured against.
    pub baseline: String,
    /// Smallest crop areas to choose among; one is no choice, none is the protocol's own.
    pub crops: Vec<f64>,
    /// Students per crop range on the hold-out.
    pub crop_seeds: u64,
    /// The scoring networks.
    pub proxy: ProxySettings,
    /// Every metric that is computed, each once, by name.
    pub metrics: Vec<Metric>,
    /// Who says soft labels and whose statistics are matched, where a protocol or row needs it.
    pub teacher: Option<PlannedTeacher>,
    /// Who looks at distilled images in turn with the teacher, by methods that ask several.
    pub backbones: Vec<PlannedTeacher>,
}

impl Plan {
    /// Every budget that a row has, in the order of the recipe; all images come last.
    pub fn budgets(&self) -> Vec<u32> {
        let mut found: Vec<u32> = Vec::new();
        for ipc in self.rows.iter().flat_map(|row| &row.budgets).filter(|&&ipc| ipc != ALL) {
            if !found.contains(ipc) {
                found.push(*ipc);
            }
        }
        let all = self.rows.iter().any(|row| row.budgets.contains(&ALL));
        found.into_iter().chain(all.then_some(ALL)).collect()
    }
}

/// One method, complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Name in tables and file names.
    pub name: String,
    /// One sentence.
    pub about: String,
    /// Where its set comes from.
    pub origin: Origin,
    /// Budgets in images per class; [`ALL`] for all images.
    pub budgets: Vec<u32>,
    /// Number of seeds.
    pub seeds: u64,
    /// How its students are trained, but for the crop range: every student under every protocol.
    pub trainings: Vec<Training>,
}

/// The budget of a row that is all training images.
pub const ALL: u32 = 0;

/// Where the set of a row comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    /// It is made here.
    Made(Box<Making>),
    /// A set made elsewhere; `{ipc}` in the path stands for the budget.
    External {
        /// The path.
        path: String,
        /// A file that fixes names and order of its classes.
        class_map: Option<PathBuf>,
    },
    /// A distillation method makes it from the bench's teacher.
    Distilled(Distilling),
    /// All training images.
    Full,
}

/// How a distilled set is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distilling {
    /// The method.
    pub method: &'static Distillation,
    /// What is not as published.
    pub tuning: Tuning,
    /// Sets of a budget, which the seeds share in turn.
    pub sets: u64,
}

/// How a set is made.
#[derive(Debug, Clone, PartialEq)]
pub struct Making {
    /// Settings of `compress`, but for ipc and seed.
    pub recipe: Recipe,
    /// What its rule decides by, where it needs scores.
    pub metric: Option<Metric>,
    /// Its rule.
    pub choice: Choice,
}

impl Row {
    /// How its set is made, where it is made here.
    pub fn making(&self) -> Option<&Making> {
        match &self.origin {
            Origin::Made(making) => Some(making),
            Origin::External { .. } | Origin::Distilled(_) | Origin::Full => None,
        }
    }

    /// What its rule decides by, where it needs scores.
    pub fn metric(&self) -> Option<&Metric> {
        self.making().and_then(|making| making.metric.as_ref())
    }

    /// Tiles of a side of its images of `size` px, where it is made here; sets made elsewhere say it themselves.
    pub fn grid(&self, size: u32) -> u32 {
        match &self.origin {
            Origin::Made(making) => making.recipe.grid.unwrap_or(1),
            Origin::Distilled(distilling) => distilling.method.grid(&distilling.tuning, size),
            Origin::External { .. } | Origin::Full => 1,
        }
    }
}

/// What is kept, over what, and by what.
fn describe_choice(choice: &Choice, metric: Option<&Metric>) -> String {
    let about = choice.rule.about;
    let over = match choice.balance {
        Balance::Class => about.to_owned(),
        Balance::Global => format!("{about}, over one pool of all classes instead"),
    };
    metric.map_or_else(|| over.clone(), |metric| format!("{over}, by {}", metric.name))
}

/// The preset of a row that is all training images.
const FULL: &str = "full";
/// What stands for the budget in the path of a set.
pub const IPC: &str = "{ipc}";

impl BenchRecipe {
    /// Checks everything before any work; `folder` is where relative paths start.
    ///
    /// # Errors
    /// For names that are in no list, numbers out of range, rows with one name, and a comparison without the random baseline.
    pub fn settle(self, folder: &Path) -> Result<Plan> {
        self.check_cells()?;
        let rows = self.row.iter().map(|row| self.settle_row(row)).collect::<Result<Vec<Row>>>()?;
        for (at, row) in rows.iter().enumerate() {
            if rows[..at].iter().any(|other| other.name == row.name) {
                return Err(usage(format!("two rows are called `{}`", row.name), "give each a `name` of its own"));
            }
        }
        let random = |row: &&Row| {
            row.making().is_some_and(|making| making.recipe.rule.as_deref() == Some("random"))
                && row.grid(self.size) == 1
        };
        let baseline = rows.iter().find(random).map(|row| row.name.clone()).ok_or_else(|| {
            usage("no row is a random subset, so no gain can be stated", "add `[[row]]` with `preset = \"random\"`")
        })?;
        let (crops, crop_seeds) = self.settle_crops()?;
        let teacher = self.settle_teacher(&rows, folder)?;
        let backbones = self.settle_backbones(&rows, folder)?;
        let metrics = self.all_metrics(&rows)?;
        let test = self.test.as_ref().unwrap_or(&self.source);
        Ok(Plan {
            source: folder.join(&self.source),
            test: folder.join(test),
            reading: self.reading.options(folder),
            baseline,
            crops,
            crop_seeds,
            proxy: self.proxy.settle(self.size)?,
            metrics,
            teacher,
            backbones,
            rows,
            recipe: self,
        })
    }

    /// That there are cells, each once.
    fn check_cells(&self) -> Result<()> {
        if self.ipc.is_empty() || self.seeds == 0 {
            return Err(usage("the recipe asks for no cell", "give `ipc = [10]` and `seeds = 3`"));
        }
        if self.seeds > MOST_SEEDS {
            return Err(usage(format!("{} seeds are more than {MOST_SEEDS}", self.seeds), "give `seeds = 3`"));
        }
        if self.ipc.contains(&ALL) {
            return Err(usage(
                "`ipc` has a budget of 0 images per class",
                "leave it out; a row with `preset = \"full\"` trains on all images",
            ));
        }
        match (1..self.ipc.len()).find(|&at| self.ipc[..at].contains(&self.ipc[at])) {
            Some(at) => Err(usage(format!("`ipc` has the budget {} twice", self.ipc[at]), "give each budget once")),
            None => Ok(()),
        }
    }

    /// The smallest crop areas to choose among, and the students of each.
    fn settle_crops(&self) -> Result<(Vec<f64>, u64)> {
        let Some(choice) = &self.crop else { return Ok((Vec::new(), 0)) };
        if choice.min.is_empty() || choice.seeds == 0 || choice.seeds > MOST_SEEDS {
            return Err(usage("[crop] offers no choice", "give `min = [0.08, 0.25]` and `seeds = 1`, or leave it out"));
        }
        if choice.min.len() > 1 && self.holdout <= 0.0 {
            return Err(usage(
                format!("[crop] chooses among {} ranges on a hold-out, and `holdout` is 0", choice.min.len()),
                "set `holdout = 0.1`, or give `min` one area",
            ));
        }
        for &min in &choice.min {
            TrainingRecipe { crop_min: Some(min), ..self.training.clone() }.settle()?;
        }
        Ok((choice.min.clone(), choice.seeds))
    }

    /// The metrics of the rows and those asked for besides, each once.
    fn all_metrics(&self, rows: &[Row]) -> Result<Vec<Metric>> {
        let epochs = self.proxy.settle(self.size)?.epochs;
        let named = self.metrics.iter().map(|name| smalti_select::metric(name, None));
        let mut metrics = named.collect::<smalti_select::Result<Vec<Metric>>>().map_err(of_call)?;
        metrics.extend(rows.iter().filter_map(|row| row.metric().cloned()));
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

    fn settle_row(&self, row: &RowRecipe) -> Result<Row> {
        let name = row.name().unwrap_or_default().to_owned();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_+.".contains(c)) {
            return Err(usage(
                format!("a row cannot be called `{name}`"),
                "give it a `name` of letters, digits and -_+. : it becomes a file name",
            ));
        }
        self.check_keys(row, &name)?;
        if [row.preset.is_some(), row.set.is_some(), row.distill.is_some()].iter().filter(|given| **given).count() != 1
        {
            let what = format!("the row `{name}` must have one of `preset`, `set` and `distill`");
            return Err(usage(what, "keep the one that is meant"));
        }
        let (origin, about, budgets) = match (row.preset.as_deref(), &row.set) {
            (Some(FULL), _) => (Origin::Full, "all training images as they are".to_owned(), vec![ALL]),
            (Some(name), _) => {
                let (making, about) = self.settle_making(row, name)?;
                (Origin::Made(Box::new(making)), about, self.ipc.clone())
            }
            (None, Some(path)) => {
                let origin = Origin::External { path: path.clone(), class_map: row.class_map.clone() };
                (origin, format!("`{path}` as it is"), self.foreign_budgets(row, &name)?)
            }
            (None, None) => {
                let distilling = self.settle_distilling(row)?;
                (Origin::Distilled(distilling), distilling.method.about.to_owned(), self.ipc.clone())
            }
        };
        let seeds = row.seeds.unwrap_or(self.seeds);
        Ok(Row { name, about, origin, budgets, seeds, trainings: self.trainings(row)? })
    }

    /// The budgets of a row whose set was made elsewhere: one set has one.
    fn foreign_budgets(&self, row: &RowRecipe, name: &str) -> Result<Vec<u32>> {
        match (row.ipc, &self.ipc[..]) {
            _ if !row.has_one_set() => Ok(self.ipc.clone()),
            (Some(ipc), _) => Ok(vec![ipc]),
            (None, [only]) => Ok(vec![*only]),
            (None, several) => Err(usage(
                format!("the row `{name}` has one set, and the recipe {} budgets", several.len()),
                "give the row `ipc = N`, or put `{ipc}` into the path of its set",
            )),
        }
    }

    /// Refuses keys that a row would ignore.
    fn check_keys(&self, row: &RowRecipe, name: &str) -> Result<()> {
        let distilled = row.distill.is_some();
        let made = !distilled && row.set.is_none() && row.preset.as_deref() != Some(FULL);
        let given = [
            ("grid", row.grid.is_some(), made || distilled),
            ("iterations", row.iterations.is_some(), distilled),
            ("sets", row.sets.is_some(), distilled),
            ("metric", row.metric.is_some(), made),
            ("rule", row.rule.is_some(), made),
            ("hard-end", row.hard_end.is_some(), made),
            ("class-map", row.class_map.is_some(), row.set.is_some()),
            ("ipc", row.ipc.is_some(), row.has_one_set()),
        ];
        if let Some((key, ..)) = given.iter().find(|(_, given, means)| *given && !means) {
            return Err(usage(format!("`{key}` means nothing in the row `{name}`"), "leave it out"));
        }
        match row.seeds {
            Some(0) => Err(usage(format!("the row `{name}` has no seeds"), "give `seeds = 1`, or leave it out")),
            Some(seeds) if seeds > self.seeds => Err(usage(
                format!("the row `{name}` has {seeds} seeds, and the recipe {}", self.seeds),
                "give the recipe as many; a row can have fewer",
            )),
            _ => Ok(()),
        }
    }

    fn settle_distilling(&self, row: &RowRecipe) -> Result<Distilling> {
        let method = distillation(row.distill.as_deref().unwrap_or_default())?;
        let tuning = Tuning { iterations: row.iterations, grid: row.grid, ..Tuning::default() };
        self.ipc.iter().try_for_each(|&ipc| method.check(&tuning, ipc))?;
        match row.sets {
            Some(0) => Err(usage(format!("`{}` makes no set", method.name), "give `sets = 1`, or leave it out")),
            sets => Ok(Distilling { method, tuning, sets: sets.unwrap_or(self.seeds) }),
        }
    }

    fn settle_making(&self, row: &RowRecipe, name: &str) -> Result<(Making, String)> {
        let preset = preset(name)?;
        let rule = row.rule.as_deref().unwrap_or(preset.rule);
        let needs = smalti_select::rule(rule).map_err(of_call)?.rule.needs;
        let recipe = Recipe {
            ipc: self.ipc.first().copied(),
            preset: Some(name.to_owned()),
            grid: row.grid.or(Some(preset.grid)),
            metric: row.metric.clone().or(preset.metric.filter(|_| needs.scores()).map(str::to_owned)),
            hard_end: row.hard_end,
            rule: Some(rule.to_owned()),
            size: Some(self.size),
            holdout: Some(self.holdout),
            orientation: self.reading.orientation,
            decode: self.reading.decode,
            proxy: self.proxy.clone(),
            ..Recipe::default()
        };
        let settled = recipe.settle("check", self.size)?;
        let metric = settled
            .metric
            .as_deref()
            .map(|spec| smalti_select::metric(spec, row.hard_end))
            .transpose()
            .map_err(of_call)?;
        let choice = settled.choice()?;
        let about = match (&row.rule, &row.metric) {
            (None, None) => preset.about.to_owned(),
            _ => describe_choice(&choice, metric.as_ref()),
        };
        Ok((Making { recipe, metric, choice }, about))
    }

    /// Every student under every protocol, with what the row says otherwise.
    fn trainings(&self, row: &RowRecipe) -> Result<Vec<Training>> {
        let one_or = |list: &[String], one: &Option<String>| match list {
            [] => vec![one.clone()],
            list => list.iter().cloned().map(Some).collect(),
        };
        let (images_seen, epochs) = match (row.images_seen, row.epochs) {
            (None, None) => (self.training.images_seen, self.training.epochs),
            own => own,
        };
        let mut trainings = Vec::new();
        for student in one_or(&self.students, &self.training.student) {
            for protocol in one_or(&self.protocols, &self.training.protocol) {
                let training = TrainingRecipe {
                    student: student.clone(),
                    protocol,
                    augment: row.augment.clone().or(self.training.augment.clone()),
                    distort: row.distort.clone().or(self.training.distort.clone()),
                    mix: row.mix.clone().or(self.training.mix.clone()),
                    images_seen,
                    epochs,
                    ..self.training.clone()
                };
                trainings.push(training.settle()?);
            }
        }
        let named = |training: &Training| (training.student.clone(), training.protocol.clone());
        let names: Vec<(String, String)> = trainings.iter().map(named).collect();
        match (1..names.len()).find(|&at| names[..at].contains(&names[at])) {
            Some(at) => Err(usage(
                format!("`students` and `protocols` ask for {} under {} twice", names[at].0, names[at].1),
                "give each once; a short name and the full one of a network are the same",
            )),
            None => Ok(trainings),
        }
    }
}
