//! Teachers: checkpoints whose classes are matched by name, and the labels they stored.

use crate::error::{failure, unknown, usage};
use crate::sources::TrainSet;
use crate::students::{SetFacts, Training};
use crate::ui::{Ui, count};
use anyhow::Result;
use smalti_data::files::{self, RunLock};
use smalti_data::mosaic::Layout;
use smalti_data::store::ImageStore;
use smalti_data::tables::soft_labels::{LabelHeader, SoftLabels};
use smalti_learn::batch::{IMAGENET, Normalise};
use smalti_learn::checkpoint::{self, Description};
use smalti_learn::engine::Engine;
use smalti_learn::labels::{LabelKind, Labels, Replay, record};
use smalti_learn::nets::{Network, Shape, full_name};
use smalti_learn::teacher::Teacher;
use smalti_learn::train::{step_count, views_of};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// A checkpoint, and what it does not say of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TeacherFile {
    /// A .safetensors file.
    pub path: PathBuf,
    /// Its network, where the file does not say it.
    pub network: Option<String>,
    /// A text file of its classes in the order of its logits, one a line, where the file does not say them.
    pub classes: Option<PathBuf>,
}

/// A teacher that is ready, with what names it.
pub struct Known {
    /// The network or networks.
    pub teacher: Teacher,
    /// Network and BLAKE3 of each file.
    pub name: String,
}

impl Known {
    /// Opens checkpoints for images of `size` px in these classes.
    ///
    /// # Errors
    /// As [`open_all`].
    pub fn open(files: &[TeacherFile], classes: &[String], size: u32, engine: &Engine, ui: &Ui) -> Result<Known> {
        let opened = open_all(files, classes, Some(size), engine, ui)?;
        let name = names(opened.iter().map(|teacher| &teacher.name));
        let member = |Opened { network, columns, constants, .. }| {
            let teacher = Teacher::new(network, columns);
            match constants {
                Some(constants) => teacher.trained_with(constants),
                None => teacher,
            }
        };
        Ok(Known { teacher: Teacher::together(opened.into_iter().map(member)), name })
    }
}

impl TeacherFile {
    /// What names it in cells and manifests: its network and the BLAKE3 of the file.
    ///
    /// # Errors
    /// When the file is no checkpoint, or does not say its network.
    pub fn name(&self) -> Result<String> {
        let said = checkpoint::describe(&self.path)?;
        name_of(self, &self.network_of(&said)?, &said)
    }

    /// What earlier versions called it, whatever its list of classes was.
    ///
    /// # Errors
    /// As [`TeacherFile::name`].
    pub fn older_name(&self) -> Result<String> {
        TeacherFile { classes: None, ..self.clone() }.name()
    }

    /// Its network.
    ///
    /// # Errors
    /// As [`TeacherFile::name`].
    pub fn network_name(&self) -> Result<String> {
        self.network_of(&checkpoint::describe(&self.path)?)
    }

    fn network_of(&self, said: &Description) -> Result<String> {
        let known = self.network.as_ref().or(said.network.as_ref());
        known.map(|name| full_name(name)).ok_or_else(|| {
            failure(
                format!("`{}` does not say which network it is", self.path.display()),
                "name it: --teacher-network resnet18, say",
            )
        })
    }

    /// The network of the checkpoint, for images of `size` px, or of those that it was trained with. Its classes are matched by name: another order is no
    /// harm, and classes that the set lacks are left out.
    ///
    /// # Errors
    /// When the file is no checkpoint of its network, does not say its classes, or lacks one of the set's; when no size is given and the file says none.
    pub fn network(&self, classes: &[String], size: Option<u32>, engine: &Engine, ui: &Ui) -> Result<Opened> {
        let said = checkpoint::describe(&self.path)?;
        let shown = self.path.display();
        let network = self.network_of(&said)?;
        let name = name_of(self, &network, &said)?;
        let own = match &self.classes {
            Some(list) => read_classes(list)?,
            None => said.classes.ok_or_else(|| {
                failure(
                    format!("`{shown}` does not say its classes, and their order is never assumed"),
                    "give --teacher-classes FILE: the class names in the order of its logits, one a line",
                )
            })?,
        };
        let size = size
            .or(said.size)
            .ok_or_else(|| failure(format!("`{shown}` does not say the size of its images"), "give --size 224, say"))?;
        if let Some(made) = said.size.filter(|&made| made != size) {
            ui.warn(format!("the teacher `{shown}` was trained at {made} px and looks at {size} px here"));
        }
        Layout::new(1, size)?;
        let columns = columns(&own, classes, &self.path)?;
        if own.len() > classes.len() {
            ui.warn(format!(
                "{} of the teacher's {} classes are not in the set and are left out",
                own.len() - classes.len(),
                own.len()
            ));
        }
        let network = checkpoint::open(&self.path, &network, Shape { classes: own.len(), size }, engine)?;
        Ok(Opened { network, columns, name, constants: said.constants })
    }
}

/// Opens all of them for images of one size: that given, or that of the first.
///
/// # Errors
/// As [`TeacherFile::network`]; without any.
pub fn open_all(
    files: &[TeacherFile],
    classes: &[String],
    size: Option<u32>,
    engine: &Engine,
    ui: &Ui,
) -> Result<Vec<Opened>> {
    let mut opened: Vec<Opened> = Vec::with_capacity(files.len());
    for file in files {
        let size = size.or(opened.first().map(|first| first.network.shape.size));
        opened.push(file.network(classes, size, engine, ui)?);
    }
    if opened.is_empty() {
        return Err(usage("there is no teacher", "give --teacher FILE"));
    }
    Ok(opened)
}

/// What names several teachers together.
pub fn names<'a>(each: impl Iterator<Item = &'a String>) -> String {
    each.map(String::as_str).collect::<Vec<_>>().join(" + ")
}

/// Network and weights; and the list that gives its logits their meaning, where that is no part of the file.
fn name_of(file: &TeacherFile, network: &str, said: &Description) -> Result<String> {
    let own = format!("{network} {}", &said.blake3[..32]);
    Ok(match &file.classes {
        Some(list) => format!("{own} classes {}", &files::hash(list)?.1[..16]),
        None => own,
    })
}

/// A checkpoint that was opened.
pub struct Opened {
    /// The network.
    pub network: Network,
    /// Its logit of each class of the set.
    pub columns: Vec<i64>,
    /// Network and BLAKE3 of the file.
    pub name: String,
    /// The constants of the pixels that it was trained with, where the file says them.
    pub constants: Option<Normalise>,
}

impl Opened {
    /// The constants of the pixels that it sees; ImageNet's where the file says none.
    pub fn constants(&self) -> Normalise {
        self.constants.unwrap_or(IMAGENET)
    }
}

fn read_classes(path: &Path) -> Result<Vec<String>> {
    let text = String::from_utf8(smalti_data::files::read(path)?)
        .map_err(|_| failure(format!("`{}` is not UTF-8 text", path.display()), "write one class name a line"))?;
    let classes: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    let mut seen = HashSet::new();
    match classes.iter().find(|class| !seen.insert(class.as_str())) {
        Some(twice) => Err(failure(
            format!("`{}` names the class `{twice}` twice, so that it has two logits", path.display()),
            "give every class a name of its own; ImageNet's English names repeat some, its synsets do not",
        )),
        None => Ok(classes),
    }
}

/// The teacher's column of each class of the set.
fn columns(own: &[String], classes: &[String], path: &Path) -> Result<Vec<i64>> {
    let place = |class: &String| {
        let found = own.iter().position(|name| name == class);
        found.map(|at| at as i64).ok_or_else(|| {
            let error = unknown("class of the teacher", class, own.iter().map(String::as_str));
            error.context(format!("the teacher `{}` does not know the class `{class}` of the set", path.display()))
        })
    };
    classes.iter().map(place).collect()
}

/// Where soft labels come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SoftSource {
    /// None: hard labels.
    None,
    /// Teachers that see every batch and speak as one.
    Teacher(Vec<TeacherFile>),
    /// A folder that `smalti relabel` wrote.
    Stored(PathBuf),
}

/// Labels that are ready for a protocol.
pub enum Ready {
    /// One class per image.
    Hard,
    /// A teacher.
    Teacher(Known),
    /// A folder of labels.
    Stored(PathBuf),
}

impl SoftSource {
    /// Checks the source against the protocol and opens what it names.
    ///
    /// # Errors
    /// When a soft protocol has no source, or a hard one has; as [`Known::open`].
    pub fn open(&self, training: &Training, set: &TrainSet, engine: &Engine, ui: &Ui) -> Result<Ready> {
        match (training.labels, self) {
            (LabelKind::Hard, SoftSource::None) => Ok(Ready::Hard),
            (LabelKind::Hard, _) => Err(usage(
                format!("the protocol `{}` has hard labels and needs no teacher", training.protocol),
                "leave --teacher and --labels out, or choose --protocol soft",
            )),
            (LabelKind::Soft(_), SoftSource::None) => Err(usage(
                format!("the protocol `{}` needs a teacher", training.protocol),
                "give --teacher FILE (a network saved by `smalti train --save`, say), or --labels DIR of `smalti relabel`",
            )),
            (LabelKind::Soft(_), SoftSource::Teacher(files)) => {
                Ok(Ready::Teacher(Known::open(files, &set.classes, set.layout.size, engine, ui)?))
            }
            (LabelKind::Soft(_), SoftSource::Stored(dir)) => {
                let header = SoftLabels::open(dir)?.header;
                check_made_for(&header, set, dir)?;
                let views = training.describe_views();
                if header.views != views {
                    return Err(failure(
                        format!(
                            "the labels `{}` were made for other views ({}) than those asked for ({views})",
                            dir.display(),
                            header.views
                        ),
                        "give the --protocol, --augment, --crop-min, --distort and --mix they were made with, or make them again with `smalti relabel`",
                    ));
                }
                Ok(Ready::Stored(dir.clone()))
            }
        }
    }
}

impl Ready {
    /// The labels of one student.
    ///
    /// # Errors
    /// When stored labels were made for another set, size or batch.
    pub fn labels(&self, training: &Training, store: &ImageStore, classes: usize, seed: u64) -> Result<Labels<'_>> {
        let LabelKind::Soft(loss) = training.labels else { return Ok(Labels::Hard) };
        Ok(match self {
            Ready::Hard => Labels::Hard,
            Ready::Teacher(known) => Labels::Online { teacher: &known.teacher, loss },
            Ready::Stored(dir) => {
                let spec = training.spec("stored labels", seed, SetFacts::of(store, classes));
                Labels::Stored { replay: Replay::new(SoftLabels::open(dir)?, store, classes, &spec)?, loss }
            }
        })
    }

    /// Bytes of the labels of a training: those stored, or those that a teacher's 16-bit logits would take.
    ///
    /// # Errors
    /// When a file is gone.
    pub fn bytes(&self, training: &Training, set: SetFacts, hard: u64) -> Result<u64> {
        Ok(match self {
            Ready::Hard => hard,
            Ready::Teacher(_) => training.images_seen(set) * 2 * set.classes as u64,
            Ready::Stored(dir) => SoftLabels::open(dir)?.bytes()?,
        })
    }
}

/// That labels were made for the images and classes of a set.
fn check_made_for(header: &LabelHeader, set: &TrainSet, dir: &Path) -> Result<()> {
    if header.classes != set.classes {
        let other = header.classes.iter().find(|class| !set.classes.contains(class));
        let what = other.map_or("are in another order".to_owned(), |class| format!("have `{class}`"));
        return Err(failure(
            format!("the classes of the labels `{}` {what}, unlike those of the set", dir.display()),
            "give the labels of this set, or make them with `smalti relabel`",
        ));
    }
    if header.set != set.hash() {
        return Err(failure(
            format!("the labels `{}` were made for other images than those of the set", dir.display()),
            "give the set they were made for, or make them again with `smalti relabel`",
        ));
    }
    if let (Some(made), Some(own)) = (&header.decoding, set.profile())
        && *made != own
    {
        return Err(failure(
            format!(
                "the labels `{}` were made of images decoded as {made}, and here they are decoded as {own}",
                dir.display()
            ),
            "give the --orientation and --decode they were made with, or make them again with `smalti relabel`",
        ));
    }
    Ok(())
}

/// What `smalti relabel` writes.
pub struct Relabel<'a> {
    /// The set.
    pub set: &'a TrainSet,
    /// How students will be trained on it.
    pub training: &'a Training,
    /// Key of order, views and mixing.
    pub seed: u64,
    /// The part of the labels that is kept, above 0 and at most 1.
    pub keep: f64,
    /// The folder.
    pub out: &'a Path,
}

impl Relabel<'_> {
    /// Stores what a teacher says of every view of a training, or of its first part.
    ///
    /// # Errors
    /// When the folder holds other labels, or the writing fails; finished epochs stay.
    pub fn run(&self, known: &Known, store: &ImageStore, engine: &Engine, ui: &Ui) -> Result<SoftLabels> {
        if !(self.keep > 0.0 && self.keep <= 1.0) {
            return Err(usage(
                format!("a part of {} of the labels cannot be kept", self.keep),
                "give --keep 0.025, say",
            ));
        }
        let _alone = RunLock::take(self.out)?;
        let classes = &self.set.classes;
        let facts = SetFacts::of(store, classes.len());
        let spec = self.training.spec(&format!("labels of {}", known.name), self.seed, facts);
        let steps = step_count(store.len(), &spec);
        let keep = ((steps as f64 * self.keep) as u64).max(1);
        let header = LabelHeader {
            version: LabelHeader::VERSION,
            teacher: known.name.clone(),
            classes: classes.clone(),
            set: self.set.hash(),
            images: store.len() as u32,
            size: store.size(),
            decoding: self.set.profile(),
            views: self.training.describe_views(),
            batch: spec.batch,
            steps,
            seed: self.seed,
        };
        let bar = ui.progress("relabel", &known.name, views_of(store.len(), &spec, keep), "views");
        let labels = record(&known.teacher, store, &spec, (self.out, &header, keep), engine, &|n| bar.add(n))?;
        bar.done();
        ui.say("relabel", format!("{} of {} to {}", count(labels.steps(), "step"), known.name, self.out.display()));
        Ok(labels)
    }
}
