//! One seed's trace as a table of the query engine, read in the order of its epochs.
//!
//! Why not the engine's own listing of folders: our epochs are named by files, not folders, and a sum of floats must see its rows in one
//! order, which a listing does not promise.

use super::files::SeedFiles;
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::{TableSchema, TableSchemaBuilder};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::object_store::path::Path as StorePath;
use datafusion::physical_plan::ExecutionPlan;
use smalti_data::tables::trace::trace_schema;
use std::pin::Pin;
use std::sync::Arc;

fn layout() -> TableSchema {
    let epoch = Arc::new(Field::new("epoch", DataType::UInt32, false));
    TableSchemaBuilder::new(trace_schema()).with_table_partition_cols(vec![epoch]).build()
}

/// The columns that a metric may name.
pub(super) fn table_schema() -> SchemaRef {
    layout().table_schema().clone()
}

/// The columns of the trace and `epoch` (from the file's name), of one seed.
#[derive(Debug)]
pub(super) struct SeedTable {
    schema: TableSchema,
    files: FileGroup,
}

impl SeedTable {
    /// The table over these files, which must be there.
    ///
    /// # Errors
    /// The engine's, for a path that is not text.
    pub fn new(seed: &SeedFiles) -> Result<SeedTable> {
        let schema = layout();
        let mut files = Vec::with_capacity(seed.epochs.len());
        for (epoch, path) in &seed.epochs {
            let mut file = PartitionedFile::from_path(path.to_string_lossy().into_owned())?;
            file.object_meta.location = StorePath::from_absolute_path(path).map_err(|e| external(Box::new(e)))?;
            files.push(file.with_partition_values(vec![ScalarValue::UInt32(Some(*epoch))]));
        }
        Ok(SeedTable { schema, files: FileGroup::new(files) })
    }

    fn plan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut source = ParquetSource::new(self.schema.clone());
        if let Some(wanted) = conjunction(filters.to_vec()) {
            let columns = DFSchema::try_from(self.schema())?;
            source = source.with_predicate(state.create_physical_expr(wanted, &columns)?);
        }
        let scan = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
            // One group is one partition, whose files are read one after the other.
            .with_file_group(self.files.clone())
            .with_preserve_order(true)
            .with_projection_indices(projection.cloned())?
            .build();
        Ok(DataSourceExec::from_data_source(scan))
    }
}

fn external(error: Box<dyn std::error::Error + Send + Sync>) -> datafusion::error::DataFusionError {
    datafusion::error::DataFusionError::External(error)
}

impl TableProvider for SeedTable {
    fn schema(&self) -> SchemaRef {
        self.schema.table_schema().clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Files are sorted by pass and sample: a filter by either skips the parts of a file that hold none of its rows.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    // What the engine's `async fn scan` stands for; nothing here waits.
    fn scan<'a, 'b, 'c, 'd, 'e>(
        &'a self,
        state: &'b dyn Session,
        projection: Option<&'c Vec<usize>>,
        filters: &'d [Expr],
        _limit: Option<usize>,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<dyn ExecutionPlan>>> + Send + 'e>>
    where
        'a: 'e,
        'b: 'e,
        'c: 'e,
        'd: 'e,
        Self: 'e,
    {
        Box::pin(std::future::ready(self.plan(state, projection, filters)))
    }
}
