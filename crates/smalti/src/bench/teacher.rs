//! The teacher of a bench: a checkpoint, or a network that is trained on all training images before anyone asks it.

use super::lab::Torch;
use super::plan::PlannedTeacher;
use crate::cache::{self, Cache, Kind};
use crate::students::{Training, machine, program, train_one};
use crate::teachers::{Known, Ready, TeacherFile};
use anyhow::Result;
use smalti_data::files;
use smalti_learn::checkpoint;
use smalti_learn::labels::{LabelKind, Labels};

impl Torch<'_> {
    /// The checkpoint of the teacher, which is trained first where the recipe says so.
    ///
    /// # Errors
    /// When it cannot be trained or read, or is another one than that of the cells before.
    pub(super) fn teacher_file(&mut self) -> Result<TeacherFile> {
        match self.plan.teacher.as_ref().expect("whoever needs a teacher was checked for it") {
            PlannedTeacher::File(file) => {
                self.pin("teacher", &file.name()?)?;
                Ok(file.clone())
            }
            PlannedTeacher::Trained(training) => {
                let file = self.trained_teacher(training)?;
                // Weights that were trained on another machine differ in their bits; each cell says whose words it learnt from.
                if let Err(error) = self.pin("teacher", &file.name()?) {
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
        let known: Known = file.open(&classes, size, &engine, ui)?;
        self.teacher = Some(Ready::Teacher(known));
        Ok(())
    }

    fn trained_teacher(&mut self, training: &Training) -> Result<TeacherFile> {
        let (path, report_path) = (self.out.join("work/teacher.safetensors"), self.out.join("teacher.json"));
        let kept = self.work().join("teacher-for-the-cache");
        let _alone = self.alone("teacher")?;
        let (cache, key) = (Cache::open(), self.teacher_key(training)?);
        if let (false, Some(files)) = (path.exists(), cache.find(Kind::Teacher, &key)) {
            self.ui.say("teacher", "from the cache");
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
            let (result, network) = train_one("teacher", training, sets, &mut Labels::Hard, 0, &engine, ui)?;
            let report = serde_json::to_vec_pretty(&result)?;
            // The weights come last: with them the teacher is finished.
            files::write_bytes(&report_path, &report)?;
            let constants = training.constants.of(classes.len(), size);
            checkpoint::save(&network, classes, &constants, &path)?;
            files::write_bytes(&kept.join("teacher.safetensors"), &files::read(&path)?)?;
            files::write_bytes(&kept.join("teacher.json"), &report)?;
            let about = format!("teacher {} under {}", training.student, training.protocol);
            cache.keep(Kind::Teacher, &key, &about, &kept, ui);
            std::fs::remove_dir_all(&kept)?;
        }
        Ok(TeacherFile { path, ..TeacherFile::default() })
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
