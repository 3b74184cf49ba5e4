//! One metric's expression: parsed against the columns of the trace, held to what a metric may be, and never pasted into a query.

use crate::error::{Error, Result};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DataFusionError, SchemaError};
use datafusion::logical_expr::{Expr, ExprSchemable, Volatility, utils};
use datafusion::prelude::SessionContext;

/// An expression as the aggregates that it holds and what is done with them.
pub(super) struct Expression {
    /// Distinct aggregate functions.
    pub aggregates: Vec<Expr>,
    /// The whole, over columns that are named like the aggregates; a 64-bit number.
    pub of_aggregates: Expr,
}

/// Parses one aggregate expression.
///
/// # Errors
/// [`Error::Query`] for what does not parse or has the wrong type; [`Error::Input`] for a column that is not there (the hint lists those that
/// are), for a column outside of an aggregate, and for subqueries, windows and orders.
pub(super) fn parse(context: &SessionContext, schema: &DFSchema, metric: &str, sql: &str) -> Result<Expression> {
    let wrong = |cause: &DataFusionError| of_engine(metric, sql, schema, cause);
    let whole = context.parse_sql_expr(sql, schema).map_err(|e| wrong(&e))?;
    let mut forbidden = None;
    let looked = whole.apply(|expr| {
        forbidden = forbidden.or(match expr {
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => {
                Some("a subquery")
            }
            Expr::WindowFunction(_) => Some("a window (`over`)"),
            Expr::ScalarFunction(f) if f.func.signature().volatility != Volatility::Immutable => {
                Some("a function that gives another number each time")
            }
            Expr::AggregateFunction(f) if !f.params.order_by.is_empty() => Some("an order inside an aggregate"),
            _ => None,
        });
        Ok(TreeNodeRecursion::Continue)
    });
    looked.map_err(|e| wrong(&e))?;
    let refuse = |what: &str| {
        let hint = "a metric is one aggregate expression over the trace, such as avg(loss) filter (where epoch < 5)";
        Err(Error::input(format!("the metric `{metric}` holds {what}: `{sql}`"), hint))
    };
    if let Some(what) = forbidden {
        return refuse(what);
    }
    let aggregates = utils::find_aggregate_exprs([&whole]);
    if aggregates.is_empty() {
        return refuse("no aggregate, so it is not one number per sample");
    }
    let names: Vec<String> = aggregates.iter().map(|a| a.schema_name().to_string()).collect();
    let replaced = whole.transform_down(|expr| match &expr {
        Expr::AggregateFunction(_) => {
            let name = expr.schema_name().to_string();
            Ok(Transformed::new(Expr::Column(Column::new_unqualified(name)), true, TreeNodeRecursion::Jump))
        }
        _ => Ok(Transformed::no(expr)),
    });
    let of_aggregates = replaced.data().map_err(|e| wrong(&e))?;
    let mut outside = None;
    let looked = of_aggregates.apply(|expr| {
        if let Expr::Column(column) = expr
            && !names.contains(&column.name)
        {
            outside = Some(column.name.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    looked.map_err(|e| wrong(&e))?;
    match outside {
        Some(column) => refuse(&format!("the column `{column}` outside of an aggregate")),
        None => Ok(Expression { aggregates, of_aggregates }),
    }
}

/// The engine's message on one line; for an unknown column the columns there are.
fn of_engine(metric: &str, sql: &str, schema: &DFSchema, error: &DataFusionError) -> Error {
    if let DataFusionError::SchemaError(inner, _) = error.find_root()
        && let SchemaError::FieldNotFound { field, .. } = inner.as_ref()
    {
        let columns: Vec<String> = schema.fields().iter().map(|f| format!("`{}`", f.name())).collect();
        return Error::input(
            format!("the metric `{metric}` reads a column `{}`, which the trace does not have: `{sql}`", field.name),
            format!("its columns are {}", columns.join(", ")),
        );
    }
    Error::Query { metric: metric.to_owned(), cause: words(error) }
}

/// The engine's message without its stack, on one line.
pub(super) fn words(error: &DataFusionError) -> String {
    error.strip_backtrace().lines().next().unwrap_or("no cause given").to_owned()
}

/// As a 64-bit number; a truth value or text is none.
///
/// # Errors
/// [`Error::Query`] for another type.
pub(super) fn as_number(metric: &str, expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let kind = expr.get_type(schema).map_err(|e| Error::Query { metric: metric.to_owned(), cause: words(&e) })?;
    if !kind.is_numeric() && !kind.is_null() {
        return Err(Error::Query { metric: metric.to_owned(), cause: format!("it gives {kind} and not a number") });
    }
    expr.cast_to(&arrow::datatypes::DataType::Float64, schema)
        .map_err(|e| Error::Query { metric: metric.to_owned(), cause: words(&e) })
}
