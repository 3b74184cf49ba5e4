//! The query engine and its async runtime, behind plain calls.

use super::SeedFiles;
use super::deviation::windowed_deviation;
use super::expression::{self, Expression, words};
use super::table::{SeedTable, table_schema};
use crate::error::{Error, Result};
use crate::metrics::Metric;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type, UInt32Type};
use datafusion::catalog::TableProvider;
use datafusion::datasource::empty::EmptyTable;
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::count::count_all;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext, col, ident, lit};
use smalti_data::tables::Pass;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// The metrics of one pass as one query.
#[derive(Debug, Clone)]
pub(super) struct PassQuery {
    /// The rows it reads.
    pub pass: Pass,
    /// Names of the metrics.
    pub names: Vec<String>,
    /// Their expressions, in the same order.
    expressions: Vec<String>,
}

/// Name of the column that counts a sample's rows.
const COUNT: &str = "rows of the sample";

/// What one seed says of every sample.
#[derive(Debug)]
pub(super) struct SeedScores {
    /// The proxy's seed.
    pub seed: u64,
    /// Epochs that have rows of the pass, ascending.
    pub epochs: Vec<u32>,
    /// Samples, ascending.
    pub samples: Vec<u32>,
    /// Rows of each sample.
    pub counts: Vec<i64>,
    /// values\[metric\]\[sample\], all finite.
    pub values: Vec<Vec<f64>>,
}

impl PassQuery {
    /// The query of metrics that read the same pass.
    pub fn new(pass: Pass, metrics: &[(&Metric, &str)]) -> PassQuery {
        PassQuery {
            pass,
            names: metrics.iter().map(|(m, _)| m.name.to_string()).collect(),
            expressions: metrics.iter().map(|(_, sql)| (*sql).to_owned()).collect(),
        }
    }

    /// Sample, number of rows, and one column per metric, of these samples.
    async fn plan(&self, context: &SessionContext, samples: &RangeInclusive<u32>) -> Result<DataFrame> {
        let wrong = |cause: DataFusionError| self.wrong(words(&cause));
        let trace = context.table("trace").await.map_err(wrong)?;
        let schema = trace.schema().clone();
        let parsed = self.names.iter().zip(&self.expressions);
        let parsed: Vec<Expression> =
            parsed.map(|(name, sql)| expression::parse(context, &schema, name, sql)).collect::<Result<_>>()?;
        let mut aggregates = vec![count_all().alias(COUNT)];
        for aggregate in parsed.iter().flat_map(|expression| &expression.aggregates) {
            if !aggregates.contains(aggregate) {
                aggregates.push(aggregate.clone());
            }
        }
        let of_pass = col("pass").eq(lit(self.pass.name()));
        let wanted = of_pass.and(col("sample").between(lit(*samples.start()), lit(*samples.end())));
        let rows = trace.filter(wanted).map_err(wrong)?;
        let grouped = rows.aggregate(vec![col("sample")], aggregates).map_err(wrong)?;
        let mut columns = vec![col("sample"), ident(COUNT)];
        for (at, (expression, name)) in parsed.into_iter().zip(&self.names).enumerate() {
            let number = expression::as_number(name, expression.of_aggregates, grouped.schema())?;
            columns.push(number.alias(format!("m{at}")));
        }
        grouped.select(columns).map_err(wrong)
    }

    async fn epochs(&self, context: &SessionContext) -> std::result::Result<Vec<RecordBatch>, DataFusionError> {
        let rows = context.table("trace").await?.filter(col("pass").eq(lit(self.pass.name())))?;
        rows.select(vec![col("epoch")])?.distinct()?.collect().await
    }

    fn wrong(&self, cause: impl ToString) -> Error {
        Error::Query { metric: self.names.join(", "), cause: cause.to_string() }
    }
}

/// Worker threads for queries.
pub(super) struct Engine {
    runtime: Runtime,
    threads: usize,
}

impl Engine {
    /// # Errors
    /// [`Error::Query`] when the system gives no threads.
    pub fn new(threads: usize) -> Result<Engine> {
        let threads = threads.max(1);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("smalti-select")
            .enable_all()
            .build()
            .map_err(|cause| Error::Query { metric: "any".into(), cause: format!("no worker threads: {cause}") })?;
        Ok(Engine { runtime, threads })
    }

    /// Plans a query over a trace without rows.
    ///
    /// # Errors
    /// As [`Engine::check`].
    pub fn check_plan(&self, query: &PassQuery) -> Result<()> {
        let wrong = |cause: DataFusionError| query.wrong(words(&cause));
        self.runtime.block_on(async {
            let context = context_over(Arc::new(EmptyTable::new(table_schema()))).map_err(wrong)?;
            query.plan(&context, &ALL).await?.create_physical_plan().await.map_err(wrong).map(|_| ())
        })
    }

    /// Plans each metric alone, so that a wrong expression is named.
    ///
    /// # Errors
    /// [`Error::Query`] with the metric.
    pub fn check(&self, query: &PassQuery, seed: &SeedFiles) -> Result<()> {
        for (name, expression) in query.names.iter().zip(&query.expressions) {
            let wrong = |cause: DataFusionError| Error::Query { metric: name.clone(), cause: words(&cause) };
            let alone =
                PassQuery { pass: query.pass, names: vec![name.clone()], expressions: vec![expression.clone()] };
            self.runtime.block_on(async {
                let context = context(seed).map_err(wrong)?;
                // Optimised too: an argument of a wrong type is found there.
                alone.plan(&context, &ALL).await?.create_physical_plan().await.map_err(wrong).map(|_| ())
            })?;
        }
        Ok(())
    }

    /// Runs the query on every seed, some samples at a time and as many of these parts at once as there are threads, and hands the
    /// results over in the order of `seeds`.
    ///
    /// # Errors
    /// [`Error::Query`] from the engine, [`Error::Input`] for a pass without rows or a value that is not finite, and what `take`
    /// returned.
    pub fn run(
        &self,
        query: &PassQuery,
        seeds: &[SeedFiles],
        mut take: impl FnMut(SeedScores) -> Result<()>,
    ) -> Result<()> {
        let query = Arc::new(query.clone());
        self.runtime.block_on(async {
            for seed in seeds {
                take(self.one_seed(&query, seed).await?)?;
            }
            Ok(())
        })
    }

    async fn one_seed(&self, query: &Arc<PassQuery>, seed: &SeedFiles) -> Result<SeedScores> {
        let epochs = tokio::spawn(epochs_of(query.clone(), seed.clone()));
        let mut whole = SeedScores {
            seed: seed.seed,
            epochs: Vec::new(),
            samples: Vec::new(),
            counts: Vec::new(),
            values: vec![Vec::new(); query.names.len()],
        };
        let mut ranges = ranges(seed.last_sample);
        let start = |range| tokio::spawn(one_part(query.clone(), seed.clone(), range));
        let mut running: VecDeque<_> = ranges.by_ref().take(self.threads).map(start).collect();
        while let Some(task) = running.pop_front() {
            let batches = task.await.map_err(|stopped| query.wrong(stopped))??;
            running.extend(ranges.next().map(start));
            whole.append(query, &batches)?;
        }
        whole.epochs = epochs.await.map_err(|stopped| query.wrong(stopped))??;
        Ok(whole)
    }
}

/// Samples that one query groups: bounds its memory, and lets one seed keep all cores busy.
const PART: u32 = 1 << 17;
/// Parts at most, since each opens every epoch.
const PARTS: u32 = 256;
/// No bound.
const ALL: RangeInclusive<u32> = 0..=u32::MAX;

/// The samples up to the last, in parts; in one where the last is not known. A sample's rows are in one part, so parts change no sum.
fn ranges(last: u32) -> impl Iterator<Item = RangeInclusive<u32>> {
    let size = if last == u32::MAX { u32::MAX } else { PART.max(last / PARTS + 1) };
    (0..=last).step_by(size as usize).map(move |first| first..=first.saturating_add(size - 1).min(last))
}

async fn one_part(query: Arc<PassQuery>, seed: SeedFiles, samples: RangeInclusive<u32>) -> Result<Vec<RecordBatch>> {
    let wrong = |cause: DataFusionError| query.wrong(format!("{} (seed {})", words(&cause), seed.seed));
    let context = context(&seed).map_err(wrong)?;
    query.plan(&context, &samples).await?.collect().await.map_err(wrong)
}

/// The epochs that have rows of the pass, ascending.
async fn epochs_of(query: Arc<PassQuery>, seed: SeedFiles) -> Result<Vec<u32>> {
    let wrong = |cause: DataFusionError| query.wrong(format!("{} (seed {})", words(&cause), seed.seed));
    let epochs = query.epochs(&context(&seed).map_err(wrong)?).await.map_err(wrong)?;
    let mut epochs: Vec<u32> =
        epochs.iter().flat_map(|batch| batch.column(0).as_primitive::<UInt32Type>().values()).copied().collect();
    epochs.sort_unstable();
    if epochs.is_empty() {
        let pass = query.pass.name();
        return Err(Error::input(
            format!(
                "seed {} of the trace has no {pass} rows, which `{}` is computed from",
                seed.seed,
                query.names.join("`, `")
            ),
            format!("train the proxies so that they record the {pass} pass, or choose another metric"),
        ));
    }
    Ok(epochs)
}

/// A session over one seed's table named `trace`. One partition: see the head of [`super`].
fn context(seed: &SeedFiles) -> Result<SessionContext, DataFusionError> {
    context_over(Arc::new(SeedTable::new(seed)?))
}

fn context_over(trace: Arc<dyn TableProvider>) -> Result<SessionContext, DataFusionError> {
    let config = SessionConfig::new().with_target_partitions(1).with_information_schema(false);
    let context = SessionContext::new_with_config(config);
    context.register_table("trace", trace)?;
    context.register_udaf(windowed_deviation());
    Ok(context)
}

impl SeedScores {
    /// Adds the result of the next part, whose batches come in any order of samples.
    fn append(&mut self, query: &PassQuery, batches: &[RecordBatch]) -> Result<()> {
        let mut order: Vec<(u32, u32, u32)> = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
        for (b, batch) in batches.iter().enumerate() {
            let samples = batch.column(0).as_primitive::<UInt32Type>();
            order.extend(samples.values().iter().enumerate().map(|(row, &sample)| (sample, b as u32, row as u32)));
        }
        order.sort_unstable();
        for (m, (name, values)) in query.names.iter().zip(&mut self.values).enumerate() {
            let columns: Vec<_> = batches.iter().map(|b| b.column(2 + m).as_primitive::<Float64Type>()).collect();
            for &(sample, b, row) in &order {
                let (column, row) = (columns[b as usize], row as usize);
                let value = column.value(row);
                if column.is_null(row) || !value.is_finite() {
                    return Err(no_number(name, sample, self.seed));
                }
                values.push(value);
            }
        }
        let counts: Vec<_> = batches.iter().map(|batch| batch.column(1).as_primitive::<Int64Type>()).collect();
        self.counts.extend(order.iter().map(|&(_, b, row)| counts[b as usize].value(row as usize)));
        self.samples.extend(order.iter().map(|&(sample, ..)| sample));
        Ok(())
    }
}

fn no_number(metric: &str, sample: u32, seed: u64) -> Error {
    Error::input(
        format!("the metric `{metric}` is not a number for sample {sample} (seed {seed})"),
        "a proxy that diverged writes such rows (train it again with a lower learning rate, or leave that seed out); a window needs that \
         many epochs",
    )
}
