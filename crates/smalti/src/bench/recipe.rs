//! Bench recipes: what is compared, on what, and how every row is trained.

use super::forecast::Assumed;
use super::plan::IPC;
use super::reading::Reading;
use crate::distill::list::{Distillation, distillation};
use crate::error::failure;
use crate::proxies::ProxyRecipe;
use crate::recipe::parse;
use crate::students::TrainingRecipe;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use smalti_select::HardEnd;
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
    /// How both are read, where that has to be said.
    #[serde(default, skip_serializing_if = "Reading::is_none")]
    pub reading: Reading,
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
    /// Students, where several are compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub students: Vec<String>,
    /// Protocols, where several are compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protocols: Vec<String>,
    /// Who says the labels of soft protocols.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<TeacherRecipe>,
    /// Networks that take turns with the teacher where a distillation method asks several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backbone: Vec<TeacherRecipe>,
    /// What `--dry-run` may assume of a source that is not here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assume: Option<Assumed>,
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

/// A teacher: a checkpoint, or a network that the bench trains on all training images before it is asked.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TeacherRecipe {
    /// A .safetensors file; a path as seen from the folder of this file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Its network, where the file does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Its classes, one a line, where the file does not say them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<PathBuf>,
    /// How it is trained, where there is no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<TrainingRecipe>,
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
    /// Name in tables; that of the preset or method if none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where metric, rule and grid come from; `full` is all training images as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// A set made elsewhere instead, used as it is: a folder or Parquet files, as seen from the folder of this file. `{ipc}` in it stands for the
    /// budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// A file that fixes names and order of the classes of `set`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_map: Option<PathBuf>,
    /// The budget of a `set` without `{ipc}`, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipc: Option<u32>,
    /// A distillation method that makes the set from the bench's teacher instead; `smalti methods` lists them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distill: Option<String>,
    /// Steps of each distilled image, instead of the published number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iterations: Option<u32>,
    /// Distilled sets of a budget, which the seeds share in turn; one of each seed where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sets: Option<u64>,
    /// Students of this row, where it needs fewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seeds: Option<u64>,
    /// Images that its students see, instead of the training's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images_seen: Option<u64>,
    /// Passes of its students, instead of the training's length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u32>,
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
    /// Instead of the protocol's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distort: Option<String>,
    /// Instead of the protocol's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mix: Option<String>,
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

    /// The first row that `other` has under the same name with other settings, but for the number of seeds.
    pub fn contradiction(&self, other: &BenchRecipe) -> Option<String> {
        let name = |row: &RowRecipe| row.name().unwrap_or_default().to_owned();
        // More seeds are more cells of the same. Earlier versions wrote a `/` after the path of a set.
        let settings = |row: &RowRecipe| {
            let set = row.set.as_ref().map(|set| set.trim_end_matches('/').to_owned());
            RowRecipe { seeds: None, ipc: None, set, ..row.clone() }
        };
        // A budget that one of the two leaves out is the first of its recipe.
        let budget = |recipe: &BenchRecipe, row: &RowRecipe| row.clone().at_budget(&recipe.ipc).ipc;
        let moves = |row: &RowRecipe, o: &RowRecipe| {
            (row.ipc.is_some() || o.ipc.is_some()) && budget(self, row) != budget(other, o)
        };
        let same = |row: &RowRecipe, o: &RowRecipe| settings(o) == settings(row) && !moves(row, o);
        let differs = |row: &&RowRecipe| other.row.iter().any(|o| name(o) == name(row) && !same(row, o));
        self.row.iter().find(differs).map(name)
    }

    /// The same with paths as seen from `to` instead of from `from`.
    pub fn moved(mut self, from: &Path, to: &Path) -> BenchRecipe {
        self.source = relative(&from.join(&self.source), to);
        self.test = self.test.map(|test| relative(&from.join(test), to));
        self.reading.class_map = self.reading.class_map.map(|list| relative(&from.join(list), to));
        for row in &mut self.row {
            // A path with a budget in it exists for each budget alone; its folder does.
            row.set = row.set.as_ref().map(|set| moved_set(set, from, to));
            row.class_map = row.class_map.as_ref().map(|list| relative(&from.join(list), to));
        }
        for teacher in self.teacher.iter_mut().chain(&mut self.backbone) {
            teacher.file = teacher.file.as_ref().map(|file| relative(&from.join(file), to));
            teacher.classes = teacher.classes.as_ref().map(|list| relative(&from.join(list), to));
        }
        self
    }

    /// Whether cells of `later` may join those of this recipe in one folder. Networks may still join the teacher where no row has asked any.
    pub fn admits(&self, later: &BenchRecipe) -> bool {
        let method = |row: &RowRecipe| row.distill.as_deref().and_then(|name| distillation(name).ok());
        let asked = self.row.iter().filter_map(method).any(Distillation::takes_several);
        let backbone = if asked { &self.backbone } else { &later.backbone }.clone();
        BenchRecipe { backbone, ..self.clone() }.fixed_part() == later.fixed_part()
    }

    /// The part that cells of one folder must share. Where the images lie may differ between machines; their hash may not.
    fn fixed_part(&self) -> BenchRecipe {
        let test = self.test.as_ref().map(|_| PathBuf::new());
        let free =
            BenchRecipe { ipc: vec![], seeds: 1, row: vec![], metrics: vec![], about: String::new(), ..self.clone() };
        // What a file holds is pinned when a row asks it.
        let moved = |teacher: &TeacherRecipe| TeacherRecipe {
            file: teacher.file.as_ref().map(|_| PathBuf::new()),
            classes: teacher.classes.as_ref().map(|_| PathBuf::new()),
            ..teacher.clone()
        };
        let teacher = self.teacher.as_ref().map(moved);
        let backbone = self.backbone.iter().map(moved).collect();
        let class_map = self.reading.class_map.as_ref().map(|_| PathBuf::new());
        BenchRecipe {
            source: PathBuf::new(),
            test,
            reading: Reading { class_map, ..self.reading.clone() },
            teacher,
            backbone,
            students: vec![],
            protocols: vec![],
            assume: None,
            ..free
        }
    }

    /// The recipe as a file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings are tables of numbers and strings")
    }
}

impl RowRecipe {
    /// Its name in tables: that of the preset or method if none is given.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref().or(self.preset.as_deref()).or(self.distill.as_deref())
    }

    /// Whether one set made elsewhere is all it has, whatever the budgets.
    pub(super) fn has_one_set(&self) -> bool {
        self.set.as_ref().is_some_and(|set| !set.contains(IPC))
    }

    /// The same row with the budget of its one set stated. Where it is left out it is the first of the recipe's, its only one.
    pub(super) fn at_budget(self, budgets: &[u32]) -> RowRecipe {
        let first = budgets.first().copied().filter(|_| self.has_one_set());
        RowRecipe { ipc: self.ipc.or(first), ..self }
    }
}

/// The path of a set as seen from another folder; what comes after `{ipc}` stays.
fn moved_set(set: &str, from: &Path, to: &Path) -> String {
    let path = Path::new(set);
    let known: PathBuf =
        path.components().take_while(|part| !part.as_os_str().to_string_lossy().contains(IPC)).collect();
    let rest: PathBuf = path.components().skip(known.components().count()).collect();
    let known = relative(&from.join(known), to);
    // Joined to nothing, the path of a file would end like that of a folder.
    let moved = if rest.as_os_str().is_empty() { known } else { known.join(rest) };
    moved.to_string_lossy().into_owned()
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
        let names: Vec<_> = plan.rows.iter().map(|row| (row.name.as_str(), row.trainings[0].augment.name())).collect();
        assert_eq!(names, [("random", "constrained"), ("pca", "constrained"), ("pca-uncut", "standard")]);
        assert_eq!(parse::<BenchRecipe>(&plan.recipe.to_toml()).expect("it parses again"), plan.recipe);
    }

    #[test]
    fn rows_know_the_tiles_of_their_images() {
        let rows = "[[row]]\ndistill = \"rded\"\n[[row]]\nname = \"plain\"\ndistill = \"rded\"\ngrid = 1\n[[row]]\ndistill = \"sre2l\"\n";
        let teacher = "[teacher]\ntrain = { student = \"convnet-3\" }\n";
        let recipe = parse::<BenchRecipe>(&format!("{SMALL}\n{rows}{teacher}")).expect("a recipe");
        let plan = recipe.settle(Path::new("here")).expect("a plan");
        let grids = |size| plan.rows.iter().map(|row| (row.name.as_str(), row.grid(size))).collect::<Vec<_>>();
        let own = [("random", 1), ("pca", 2), ("pca-uncut", 2)];
        assert_eq!(grids(224)[..3], own);
        assert_eq!(grids(224)[3..], [("rded", 2), ("plain", 1), ("sre2l", 1)]);
        assert_eq!(grids(64)[3..], [("rded", 1), ("plain", 1), ("sre2l", 1)]);
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
            ("seeds = 2\n", "seeds = 20000000000000\n"),
            ("name = \"pca-uncut\"\npreset = \"pca\"", "preset = \"full\"\ngrid = 2"),
            ("name = \"pca-uncut\"\npreset = \"pca\"", "name = \"b\"\nset = \"b\"\nmetric = \"el2n\""),
            ("name = \"pca-uncut\"\npreset = \"pca\"", "name = \"b\"\npreset = \"pca\"\nipc = 2"),
            ("name = \"pca-uncut\"\npreset = \"pca\"", "distill = \"sre2l\""),
            ("name = \"pca-uncut\"\npreset = \"pca\"", "distill = \"srel\""),
            ("name = \"pca-uncut\"\npreset = \"pca\"", "distill = \"sre2l\"\ngrid = 2"),
            ("name = \"pca-uncut\"\npreset = \"pca\"", "distill = \"sre2l\"\nsets = 0"),
            ("name = \"pca-uncut\"", "name = \"b\"\niterations = 5"),
            ("name = \"pca-uncut\"", "name = \"b\"\nseeds = 0"),
            ("name = \"pca-uncut\"", "name = \"b\"\nseeds = 3"),
            ("ipc = [2, 5]", "ipc = [2, 5, 2]"),
            ("ipc = [2, 5]", "ipc = [2, 0]"),
            ("ipc = [2, 5]", "ipc = [2, 5]\nstudents = [\"convnet-3\", \"convnet-3/128-bn\"]"),
            ("ipc = [2, 5]", "ipc = [2, 5]\nprotocols = [\"small\", \"small-sgd\", \"small\"]"),
            ("ipc = [2, 5]", "ipc = [2, 5]\nholdout = 0.0"),
            ("name = \"pca-uncut\"\npreset = \"pca\"", "name = \"b\"\nset = \"b\""),
        ] {
            let text = SMALL.replacen(from, to, 1);
            let error = parse::<BenchRecipe>(&text).and_then(|r| r.settle(Path::new("."))).expect_err(to);
            assert!(hint_of(&error).is_some(), "{to}: {error}");
        }
    }

    #[test]
    fn rows_may_grow_by_seeds_and_not_change_otherwise() {
        let of = |row: &str| parse::<BenchRecipe>(&SMALL.replace("name = \"pca-uncut\"", row)).expect("a recipe");
        let before = of("name = \"pca-uncut\"\nseeds = 1");
        assert_eq!(before.contradiction(&of("name = \"pca-uncut\"\nseeds = 2")), None);
        let other = before.contradiction(&of("name = \"pca-uncut\"\ngrid = 3"));
        assert_eq!(other.as_deref(), Some("pca-uncut"));
    }

    #[test]
    fn one_set_made_elsewhere_has_one_budget() {
        let of = |ipc: &str, row: &str| {
            let text = SMALL.replace("ipc = [2, 5]", ipc) + "[[row]]\nname = \"b\"\n" + row;
            parse::<BenchRecipe>(&text).expect("a recipe")
        };
        let (bare, stated) = ("set = \"b/\"", "set = \"b\"\nipc = 2");
        let error = of("ipc = [2, 5]", bare).settle(Path::new(".")).expect_err("two budgets").to_string();
        assert_eq!(error, "the row `b` has one set, and the recipe 2 budgets");
        let budgets =
            |ipc: &str, row: &str| of(ipc, row).settle(Path::new(".")).expect("a plan").rows[3].budgets.clone();
        assert_eq!((budgets("ipc = [2]", bare), budgets("ipc = [5, 2]", stated)), (vec![2], vec![2]));
        assert_eq!(budgets("ipc = [2, 5]", "set = \"b-{ipc}\""), [2, 5]);

        // Budgets may grow: what the row had was the first.
        let before = of("ipc = [2]", bare);
        assert_eq!(before.contradiction(&of("ipc = [5, 2]", stated)), None);
        assert_eq!(before.contradiction(&of("ipc = [2]", "set = \"b\"\nipc = 5")).as_deref(), Some("b"));
        assert_eq!(before.contradiction(&of("ipc = [2]", "set = \"c\"")).as_deref(), Some("b"));
    }

    #[test]
    fn networks_join_the_teacher_until_a_row_has_asked_some() {
        let of = |rest: &str| parse::<BenchRecipe>(&format!("{SMALL}\n{rest}")).expect("a recipe");
        let one = "[[row]]\ndistill = \"gvbsm\"\n[[backbone]]\ntrain = { student = \"convnet-3\" }\n";
        let two = one.replace("convnet-3", "convnet-2");
        assert!(of("").admits(&of(one)) && of(one).admits(&of(one)));
        assert!(!of(one).admits(&of(&two)) && !of("[[row]]\ndistill = \"gvbsm\"\n").admits(&of(one)));
    }

    #[test]
    fn paths_move_with_the_recipe() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for folder in ["a/data", "b/out"] {
            std::fs::create_dir_all(dir.path().join(folder)).expect("created");
        }
        let seen = relative(&dir.path().join("a/data"), &dir.path().join("b/out"));
        assert_eq!(seen, Path::new("../../a/data"));
        std::fs::write(dir.path().join("a/set.parquet"), "").expect("written");
        let moved = |set| moved_set(set, &dir.path().join("a"), &dir.path().join("b/out"));
        let sets = ["set.parquet", "data", "data/{ipc}/x.parquet", "set-{ipc}.parquet"];
        let seen = ["../../a/set.parquet", "../../a/data", "../../a/data/{ipc}/x.parquet", "../../a/set-{ipc}.parquet"];
        assert_eq!(sets.map(moved), seen);
    }
}
