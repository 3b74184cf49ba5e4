//! The teachers of a bench: checkpoints, or networks that are trained on all training images before anyone asks them.

use super::cells::{self, Job};
use super::lab::Torch;
use super::pins::pin_as;
use super::plan::{Distilling, Origin, Plan, Row};
use super::recipe::{BenchRecipe, TeacherRecipe};
use crate::cache::{self, Cache, Kind};
use crate::error::usage;
use crate::students::{Training, machine, program, train_one};
use crate::teachers::{Known, Ready, TeacherFile};
use anyhow::Result;
use smalti_data::files;
use smalti_data::manifest::MANIFEST;
use smalti_learn::checkpoint;
use smalti_learn::labels::{LabelKind, Labels};
use smalti_learn::student::StudentResult;
use std::path::Path;

/// Who says soft labels, or looks at distilled images.
#[derive(Debug, Clone, PartialEq)]
pub enum PlannedTeacher {
    /// A checkpoint.
    File(TeacherFile),
    /// A network that is trained on all training images first.
    Trained(Box<Training>),
}

impl PlannedTeacher {
    /// The name of its network.
    pub(super) fn network(&self) -> Result<String> {
        match self {
            PlannedTeacher::File(file) => file.network_name(),
            PlannedTeacher::Trained(training) => Ok(training.student.clone()),
        }
    }
}

impl Plan {
    /// The teacher and those that take turns with it, by the names of their files.
    pub(super) fn teachers(&self) -> impl Iterator<Item = (String, &PlannedTeacher)> {
        let first = self.teacher.iter().map(|teacher| ("teacher".to_owned(), teacher));
        first.chain((1..).zip(&self.backbones).map(|(number, backbone)| (format!("backbone-{number}"), backbone)))
    }
}

impl Job<'_> {
    /// How many of [`Plan::teachers`] it asks, from the first on. Nobody is asked again for a set that lies in `out`.
    pub(super) fn teachers(&self, plan: &Plan, out: &Path) -> usize {
        match &self.row.origin {
            Origin::Distilled(distilling) if !distilling.has_set(self, out) => distilling.teachers(plan),
            _ => usize::from(self.training.labels != LabelKind::Hard),
        }
    }
}

impl Distilling {
    /// The name of the set of a job, which seeds share.
    pub(super) fn set_name(&self, job: &Job) -> String {
        cells::set_name(&job.row.name, job.ipc, job.seed % self.sets)
    }

    /// Whether it lies in `out`.
    pub(super) fn has_set(&self, job: &Job, out: &Path) -> bool {
        out.join("work/sets").join(self.set_name(job)).join(MANIFEST).exists()
    }

    /// How many of [`Plan::teachers`] it asks, from the first on.
    pub(super) fn teachers(&self, plan: &Plan) -> usize {
        if self.method.takes_several() { 1 + plan.backbones.len() } else { 1 }
    }
}

impl TeacherRecipe {
    fn settle(&self, folder: &Path) -> Result<PlannedTeacher> {
        match self {
            TeacherRecipe { file: Some(file), train: None, network, classes } => {
                Ok(PlannedTeacher::File(TeacherFile {
                    path: folder.join(file),
                    network: network.clone(),
                    classes: classes.as_ref().map(|list| folder.join(list)),
                }))
            }
            TeacherRecipe { file: None, train: Some(_), network, classes }
                if network.is_some() || classes.is_some() =>
            {
                Err(usage(
                    "a teacher that is trained here has its network in `train`",
                    "leave `network` and `classes` out",
                ))
            }
            TeacherRecipe { file: None, train: Some(training), .. } => {
                let training = training.settle()?;
                match training.labels {
                    LabelKind::Hard => Ok(PlannedTeacher::Trained(Box::new(training))),
                    LabelKind::Soft(_) => {
                        Err(usage("the teacher itself needs a teacher", "give it a protocol with hard labels"))
                    }
                }
            }
            _ => Err(usage("a teacher is neither a file nor trained, or both", "give it `file` or `train`")),
        }
    }
}

impl BenchRecipe {
    /// The teacher, where a row needs one.
    pub(super) fn settle_teacher(&self, rows: &[Row], folder: &Path) -> Result<Option<PlannedTeacher>> {
        let soft = rows.iter().flat_map(|row| &row.trainings).find(|training| training.labels != LabelKind::Hard);
        let distilled = rows.iter().find(|row| matches!(row.origin, Origin::Distilled(_)));
        let who = match (soft, distilled) {
            (Some(training), _) => format!("the protocol `{}`", training.protocol),
            (None, Some(row)) => format!("the row `{}`", row.name),
            (None, None) => return Ok(None),
        };
        match &self.teacher {
            Some(teacher) => Ok(Some(teacher.settle(folder)?)),
            None => Err(usage(
                format!("{who} needs a teacher"),
                "add `[teacher]` with `file = \"teacher.safetensors\"` or `train = { student = \"resnet18\", protocol = \"small\" }`",
            )),
        }
    }

    /// Those that take turns with the teacher.
    pub(super) fn settle_backbones(&self, rows: &[Row], folder: &Path) -> Result<Vec<PlannedTeacher>> {
        let asks =
            |row: &Row| matches!(row.origin, Origin::Distilled(Distilling { method, .. }) if method.takes_several());
        if !self.backbone.is_empty() && !rows.iter().any(asks) {
            return Err(usage(
                "no row asks the networks of `[[backbone]]`",
                "add a row with `distill = \"gvbsm\"`, or leave them out",
            ));
        }
        let all = self.teacher.iter().chain(&self.backbone);
        let mut asked = all.map(|one| one.settle(folder)).collect::<Result<Vec<PlannedTeacher>>>()?;
        // Trained from one seed, they would be the same to the bit.
        if let Some(number) = (1..asked.len()).find(|&number| asked[..number].contains(&asked[number])) {
            return Err(usage(
                format!("`[[backbone]]` {number} is the same network as one before it"),
                "give it another network or protocol, or leave it out",
            ));
        }
        Ok(asked.split_off(self.teacher.iter().len()))
    }
}

/// What is to be said of a network that hardly beats guessing: nobody should find that out from the sets it made.
fn doubt(name: &str, top1_percent: f64, classes: usize) -> Option<String> {
    let chance = 100.0 / classes.max(1) as f64;
    // A twentieth of the way from guessing to all right.
    (classes > 1 && top1_percent < chance + 0.05 * (100.0 - chance)).then(|| {
        format!(
            "{name} classifies {top1_percent:.1} % of the test images right, and guessing {chance:.1} %: what asks it says little; give its `train` a \
             smaller learning-rate or more epochs"
        )
    })
}

impl Torch<'_> {
    /// The checkpoint of the teacher, which is trained first where the recipe says so.
    ///
    /// # Errors
    /// When it cannot be trained or read, or is another one than that of the cells before.
    pub(super) fn teacher_file(&mut self) -> Result<TeacherFile> {
        self.checkpoint("teacher", self.plan.teacher.as_ref().expect("whoever needs a teacher was checked for it"))
    }

    /// The checkpoints of all whom a distillation method asks.
    ///
    /// # Errors
    /// As [`Torch::teacher_file`].
    pub(super) fn asked(&mut self, distilling: &Distilling) -> Result<Vec<TeacherFile>> {
        let plan = self.plan;
        let asked = plan.teachers().take(distilling.teachers(plan));
        asked.map(|(name, planned)| self.checkpoint(&name, planned)).collect()
    }

    /// That those whom a finished set asked are still those of the recipe, where they are files. One that is trained here and is gone is not trained again for it.
    ///
    /// # Errors
    /// When one is another, or cannot be read.
    pub(super) fn check_files(&self, distilling: &Distilling) -> Result<()> {
        self.plan.teachers().take(distilling.teachers(self.plan)).try_for_each(|(name, planned)| match planned {
            PlannedTeacher::File(file) => self.pin_file(&name, file),
            PlannedTeacher::Trained(_) => Ok(()),
        })
    }

    /// That a teacher from a file is the one that earlier cells asked, its list of classes included.
    fn pin_file(&self, name: &str, file: &TeacherFile) -> Result<()> {
        let _alone = self.alone("inputs")?;
        pin_as(self.out, name, &file.name()?, &file.older_name()?)
    }

    fn checkpoint(&mut self, name: &str, planned: &PlannedTeacher) -> Result<TeacherFile> {
        match planned {
            PlannedTeacher::File(file) => {
                self.pin_file(name, file)?;
                Ok(file.clone())
            }
            PlannedTeacher::Trained(training) => {
                let file = self.trained(name, training)?;
                // Weights that were trained on another machine differ in their bits; each cell says whose words it learnt from.
                if let Err(error) = self.pin(name, &file.name()?) {
                    self.ui.warn(format!("{error:#}"));
                }
                Ok(file)
            }
        }
    }

    /// Opens the teacher, where the labels are soft.
    ///
    /// # Errors
    /// As [`Torch::teacher_file`], and when it does not know the classes.
    pub(super) fn ready(&mut self, training: &Training) -> Result<()> {
        if training.labels == LabelKind::Hard || self.teacher.is_some() {
            return Ok(());
        }
        let file = self.teacher_file()?;
        let (size, engine, ui) = (self.plan.recipe.size, self.engine, self.ui);
        let classes = self.images()?.source.source.classes().to_vec();
        let known = Known::open(&[file], &classes, size, &engine, ui)?;
        self.teacher = Some(Ready::Teacher(known));
        Ok(())
    }

    fn trained(&mut self, name: &str, training: &Training) -> Result<TeacherFile> {
        let path = self.work().join(format!("{name}.safetensors"));
        let report_path = self.out.join(format!("{name}.json"));
        let _alone = self.alone(name)?;
        let (cache, key) = (Cache::open(), self.teacher_key(training)?);
        if let (false, Some(files)) = (path.exists(), cache.find(Kind::Teacher, &key)) {
            self.ui.say(name, "from the cache");
            files::write_bytes(&report_path, &files::read(&files.join("teacher.json"))?)?;
            files::write_bytes(&path, &files::read(&files.join("teacher.safetensors"))?)?;
        }
        if !path.exists() {
            self.load_test(training.fit)?;
            let all = self.everything()?;
            let (engine, ui, size) = (self.engine, self.ui, self.plan.recipe.size);
            let images = self.images()?;
            let classes = images.source.source.classes();
            let test = images.fitted(training.fit);
            let sets = (&all.train, test, classes.len());
            let (result, network) = train_one(name, training, sets, &mut Labels::Hard, 0, &engine, ui)?;
            let report = serde_json::to_vec_pretty(&result)?;
            // The weights come last: with them the teacher is finished.
            files::write_bytes(&report_path, &report)?;
            let constants = training.constants.of(classes.len(), size);
            checkpoint::save(&network, classes, &constants, &path)?;
            let about = format!("teacher {} under {}", training.student, training.protocol);
            cache.keep(Kind::Teacher, &key, &about, ui, |folder| {
                files::write_bytes(&folder.join("teacher.safetensors"), &files::read(&path)?)?;
                Ok(files::write_bytes(&folder.join("teacher.json"), &report)?)
            });
        }
        self.say_doubt(name, &report_path)?;
        Ok(TeacherFile { path, ..TeacherFile::default() })
    }

    /// Warns of a network near chance whenever it is about to be asked, also by a process that did not train it.
    fn say_doubt(&mut self, name: &str, report: &Path) -> Result<()> {
        let ui = self.ui;
        let classes = self.images()?.source.source.classes().len();
        // A checkpoint that was carried here may lack its report.
        if let Ok(report) = files::read(report) {
            let result: StudentResult = serde_json::from_slice(&report)?;
            doubt(name, result.top1_percent, classes).into_iter().for_each(|doubt| ui.warn(doubt));
        }
        Ok(())
    }

    /// The hash of everything that a teacher depends on.
    fn teacher_key(&mut self, training: &Training) -> Result<String> {
        let (size, machine) = (self.plan.recipe.size, machine(&self.engine));
        let images = self.images()?;
        let (images, measured) = (cache::train_hash(&images.source.samples), images.test_set.hash());
        let classes = self.images()?.source.source.classes();
        Ok(cache::key(&("teacher 2", images, measured, classes, training, size, machine, program())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_near_chance_is_doubted_by_name() {
        let said = doubt("backbone-2", 8.79, 10).expect("below chance");
        assert!(
            said.starts_with("backbone-2 classifies 8.8 % of the test images right, and guessing 10.0 %"),
            "{said}"
        );
        assert!(doubt("teacher", 14.4, 10).is_some() && doubt("teacher", 14.6, 10).is_none());
        assert!(doubt("teacher", 52.0, 2).is_some() && doubt("teacher", 60.0, 2).is_none());
        assert!(doubt("teacher", 100.0, 1).is_none(), "one class cannot be missed");
    }
}
