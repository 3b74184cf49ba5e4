//! What is found out before anything takes hours: networks that cannot do what a recipe asks of them.

use super::cells;
use super::lab::Torch;
use super::plan::{Origin, Plan};
use super::teacher::PlannedTeacher;
use crate::error::of_call;
use crate::students::Training;
use anyhow::Result;
use smalti_learn::growth::Growth;
use smalti_learn::nets::{Network, Shape};
use smalti_learn::recover::check_norms;
use smalti_select::Needs;
use std::collections::{BTreeMap, BTreeSet};

impl Torch<'_> {
    /// That the networks of unfinished cells can be trained and asked as the recipe says.
    ///
    /// # Errors
    /// Naming the network; when a checkpoint cannot be read.
    pub fn check_networks(&self) -> Result<()> {
        self.check_names()?;
        self.check_norms()?;
        self.check_views()
    }

    /// That there is every network that unfinished cells train: a slip of the pen is found before the proxies have trained.
    fn check_names(&self) -> Result<()> {
        let Plan { proxy, recipe, .. } = self.plan;
        let mut asked: BTreeSet<(&str, u32)> = BTreeSet::new();
        // Metrics that are asked for besides are computed whatever the rows need.
        if !recipe.metrics.is_empty() {
            asked.insert((&proxy.network, proxy.size));
        }
        for job in cells::jobs(self.plan) {
            if job.finished(self.out)?.is_some() {
                continue;
            }
            asked.insert((&job.training.student, recipe.size));
            if job.row.making().is_some_and(|making| making.choice.rule.needs != Needs::Nothing) {
                asked.insert((&proxy.network, proxy.size));
            }
            for (_, planned) in self.plan.teachers().take(job.teachers(self.plan, self.out)) {
                if let PlannedTeacher::Trained(training) = planned {
                    asked.insert((&training.student, recipe.size));
                }
            }
        }
        asked.iter().try_for_each(|(name, size)| Network::check(name, *size, &self.engine).map_err(of_call))
    }

    fn network(&self, name: &str) -> Result<Network> {
        Ok(Network::new(name, Shape { classes: 2, size: self.plan.recipe.size }, 0, &self.engine)?)
    }

    /// That those whom distilled rows ask have statistics to match.
    fn check_norms(&self) -> Result<()> {
        // Each network once: building a large one takes a moment.
        let mut asked: BTreeMap<String, &str> = BTreeMap::new();
        for job in cells::jobs(self.plan) {
            let Origin::Distilled(distilling) = &job.row.origin else { continue };
            if !distilling.method.moves_pixels() || job.finished(self.out)?.is_some() {
                continue;
            }
            for (_, planned) in self.plan.teachers().take(distilling.teachers(self.plan)) {
                asked.entry(planned.network()?).or_insert(&job.row.name);
            }
        }
        asked.iter().try_for_each(|(name, row)| Ok(check_norms(&self.network(name)?, row)?))
    }

    /// That students and teachers can see the small views with which a training may begin.
    fn check_views(&self) -> Result<()> {
        let mut known: Vec<(&str, Growth)> = Vec::new();
        for job in cells::jobs(self.plan) {
            if job.finished(self.out)?.is_some() {
                continue;
            }
            let teachers = self.plan.teachers().take(job.teachers(self.plan, self.out));
            let trained = teachers.filter_map(|(_, planned)| match planned {
                PlannedTeacher::Trained(training) => Some(&**training),
                PlannedTeacher::File(_) => None,
            });
            let grows = |training: &&Training| !training.growth.is_none();
            for Training { student, growth, .. } in trained.chain([job.training]).filter(grows) {
                if !known.contains(&(student, *growth)) {
                    growth.check(&self.network(student)?, self.plan.recipe.size, &self.engine)?;
                    known.push((student, *growth));
                }
            }
        }
        Ok(())
    }
}
