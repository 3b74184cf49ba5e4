//! What is found out before anything takes hours: networks that cannot do what a recipe asks of them.

use super::cells::{self, Job};
use super::lab::Torch;
use super::plan::{Origin, Plan};
use super::teacher::PlannedTeacher;
use crate::error::of_call;
use crate::students::Training;
use anyhow::Result;
use smalti_learn::growth::Growth;
use smalti_learn::nets::Network;
use smalti_learn::recover::check_norms;
use smalti_select::Needs;
use std::collections::{BTreeMap, BTreeSet};

impl<'a> Torch<'a> {
    /// That the networks of unfinished cells can be trained and asked as the recipe says.
    ///
    /// # Errors
    /// Naming the network; when a checkpoint cannot be read.
    pub fn check_networks(&self) -> Result<()> {
        let mut jobs = Vec::new();
        for job in cells::jobs(self.plan) {
            if job.finished(self.out)?.is_none() {
                jobs.push(job);
            }
        }
        self.check_names(&jobs)?;
        self.check_norms(&jobs)?;
        self.check_views(&jobs)
    }

    /// The student of a job and the teachers that are trained for it.
    fn trainings(&self, job: &Job<'a>) -> Vec<&'a Training> {
        let teachers = self.plan.teachers().take(job.teachers(self.plan, self.out));
        let trained = teachers.filter_map(|(_, planned)| match planned {
            PlannedTeacher::Trained(training) => Some(&**training),
            PlannedTeacher::File(_) => None,
        });
        trained.chain([job.training]).collect()
    }

    /// That there is every network that is trained: a slip of the pen is found before the proxies have trained.
    fn check_names(&self, jobs: &[Job<'a>]) -> Result<()> {
        let Plan { proxy, recipe, .. } = self.plan;
        let mut asked: BTreeSet<(&str, u32)> = BTreeSet::new();
        let needs = |job: &Job| job.row.making().is_some_and(|making| making.choice.rule.needs != Needs::Nothing);
        // Metrics that are asked for besides are computed whatever the rows need.
        if !recipe.metrics.is_empty() || jobs.iter().any(needs) {
            asked.insert((&proxy.network, proxy.size));
        }
        for training in jobs.iter().flat_map(|job| self.trainings(job)) {
            asked.insert((&training.student, recipe.size));
        }
        asked.iter().try_for_each(|(name, size)| Network::trial(name, *size, &self.engine).map(drop).map_err(of_call))
    }

    /// That those whom distilled rows ask have statistics to match.
    fn check_norms(&self, jobs: &[Job<'a>]) -> Result<()> {
        // Each network once: building a large one takes a moment.
        let mut asked: BTreeMap<String, &str> = BTreeMap::new();
        for job in jobs {
            let Origin::Distilled(distilling) = &job.row.origin else { continue };
            if !distilling.method.moves_pixels() {
                continue;
            }
            for (_, planned) in self.plan.teachers().take(distilling.teachers(self.plan)) {
                asked.entry(planned.network()?).or_insert(&job.row.name);
            }
        }
        let size = self.plan.recipe.size;
        asked.iter().try_for_each(|(name, row)| Ok(check_norms(&Network::trial(name, size, &self.engine)?, row)?))
    }

    /// That students and teachers can see the small views with which a training may begin.
    fn check_views(&self, jobs: &[Job<'a>]) -> Result<()> {
        let (size, mut known) = (self.plan.recipe.size, Vec::<(&str, Growth)>::new());
        for Training { student, growth, .. } in jobs.iter().flat_map(|job| self.trainings(job)) {
            if !growth.is_none() && !known.contains(&(student, *growth)) {
                growth.check(&Network::trial(student, size, &self.engine)?, size, &self.engine)?;
                known.push((student, *growth));
            }
        }
        Ok(())
    }
}
