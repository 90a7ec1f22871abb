//! `status`: how far the fleet is migrated.

use std::fmt::Write as _;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use clap::Parser;
use console::style;
use serde_json::json;

use crate::model::TenantModel;
use crate::status::{SchemaStatus, Status, StatusGroup};

use super::context::Context;
use super::outcome::{Done, Exit, Failure};
use super::output::{self, Format, Output};
use super::report::ids;
use super::table::{Table, count};
use super::targets::Targets;
use super::width::fitting;

/// Shows how far the fleet is migrated
///
/// A matrix: the columns are the migrations that some tenant lacks, each row stands for the tenants that
/// lack the same ones. It stays a few lines long, however many tenants there are; `--format tsv` and `json`
/// have every schema. The exit code is 0 whatever is pending: `migrate_schemas --check` is for programs.
#[derive(Debug, Parser)]
pub(super) struct Args {
    #[command(flatten)]
    targets: Targets,
    #[command(flatten)]
    output: Output,
}

pub(super) fn run<T: TenantModel>(args: &Args, context: &Context<T>) -> Done {
    let tenancy = context.tenancy()?;
    let wanted = args.targets.names(tenancy)?;
    let mut status = tenancy.status()?;
    let mut shared = true;
    let narrowed = wanted.is_some();
    if let Some(wanted) = wanted {
        shared = wanted.contains(status.shared.schema.as_str());
        status
            .tenants
            .retain(|tenant| wanted.contains(tenant.schema.as_str()));
    }
    if args.output.format == Format::Table {
        output::print(&for_people(&status, shared, narrowed))?;
    } else {
        list(&status, shared, args.output.format)?;
    }
    let missing = status
        .tenants
        .iter()
        .filter(|tenant| !tenant.exists)
        .count();
    let behind = status
        .tenants
        .iter()
        .filter(|tenant| !tenant.is_current())
        .count()
        - missing;
    if behind > 0 || (shared && !status.shared.is_current()) {
        context.ui.note("`migrate_schemas` runs what is pending.");
    }
    if missing > 0 {
        context
            .ui
            .note("`create_missing_schemas` makes the schemas that are not there.");
    }
    Ok(Exit::Done)
}

/// A few lines, however many tenants there are.
fn for_people(status: &Status, shared: bool, narrowed: bool) -> String {
    let mut text = String::new();
    if shared {
        text.push_str(&of_shared(&status.shared));
    }
    if !narrowed || !status.tenants.is_empty() {
        text.push_str(&of_tenants(status));
    }
    let shared = shared.then_some(&status.shared);
    for schema in status.tenants.iter().chain(shared) {
        if !schema.changed.is_empty() || !schema.unknown.is_empty() {
            text.push_str("\nThere are changed or unknown migrations: `doctor` names them.\n");
            break;
        }
    }
    text
}

fn of_shared(shared: &SchemaStatus) -> String {
    let mut text = String::new();
    let state = match shared.pending.len() {
        _ if !shared.exists => style("does not exist".to_owned()).red(),
        0 => style("up to date".to_owned()).green(),
        pending => style(format!("{pending} pending")).yellow(),
    };
    let _ = writeln!(
        text,
        "{}: {}, {state}",
        style(&shared.schema).bold(),
        count(shared.applied, "migration")
    );
    for id in &shared.pending {
        let _ = writeln!(text, "  {id}");
    }
    text
}

fn of_tenants(status: &Status) -> String {
    let mut text = String::new();
    let current = status
        .tenants
        .iter()
        .filter(|tenant| tenant.is_current())
        .count();
    let _ = writeln!(
        text,
        "{}: {current} up to date, {} not",
        style(count(status.tenants.len(), "tenant")).bold(),
        status.tenants.len() - current
    );
    text.push_str(&matrix(status));
    text
}

/// Which tenants lack which migrations.
fn matrix(status: &Status) -> String {
    let pending = status.pending();
    let groups = status.groups();
    if groups
        .iter()
        .all(|group| group.exist && group.pending.is_empty())
    {
        return String::new();
    }
    let mut text = "\n".to_owned();
    for (number, (id, tenants)) in pending.iter().enumerate() {
        let lack = if *tenants == 1 { "lacks" } else { "lack" };
        let _ = writeln!(
            text,
            "{:>4}  {id}, which {} {lack}",
            style(number + 1).bold(),
            count(*tenants, "tenant")
        );
    }
    let _ = write!(text, "\n{:>7}", "tenants");
    for number in 1..=pending.len() {
        let _ = write!(text, "{number:>4}");
    }
    text.push('\n');
    for group in &groups {
        let _ = write!(text, "{:>7}", group.tenants.len());
        for (id, _) in &pending {
            let lacks = group.pending.contains(id);
            let mark = match (group.exist, lacks) {
                (false, _) => style("-").red(),
                (true, true) => style("x").yellow(),
                (true, false) => style("·").green(),
            };
            let _ = write!(text, "   {mark}");
        }
        let _ = writeln!(text, "  {}", names(group, 9 + 4 * pending.len()));
    }
    let _ = writeln!(
        text,
        "{}",
        style("        · has it   x lacks it   - has no schema").dim()
    );
    text
}

/// Who is in a group, or how they are, in a line that has `before` columns already.
fn names(group: &StatusGroup<'_>, before: usize) -> String {
    if group.exist && group.pending.is_empty() && group.tenants.len() > 10 {
        return "up to date".to_owned();
    }
    let names: Vec<&str> = group
        .tenants
        .iter()
        .map(|tenant| tenant.schema.as_str())
        .collect();
    fitting(&names, before)
}

fn state(schema: &SchemaStatus) -> &'static str {
    match (schema.exists, schema.is_current()) {
        (false, _) => "missing",
        (true, true) => "current",
        (true, false) => "behind",
    }
}

fn time(time: Option<SystemTime>) -> Option<String> {
    time.map(|time| {
        DateTime::<Utc>::from(time)
            .format("%Y-%m-%dT%H:%M:%SZ")
            .to_string()
    })
}

/// Every schema for programs.
fn list(status: &Status, shared: bool, format: Format) -> Result<(), Failure> {
    let shared = shared.then_some(&status.shared);
    let all = || shared.into_iter().chain(&status.tenants);
    let mut table = Table::new(["schema", "state", "applied", "pending", "last_migrated"]);
    for schema in all() {
        table.row([
            schema.schema.to_string(),
            state(schema).to_owned(),
            schema.applied.to_string(),
            schema.pending.len().to_string(),
            time(schema.last_migrated).unwrap_or_default(),
        ]);
    }
    format.write(&table, || {
        all()
            .map(|schema| {
                json!({
                    "schema": schema.schema.as_str(),
                    "tenant_type": schema.tenant_type,
                    "state": state(schema),
                    "applied": schema.applied,
                    "pending": ids(&schema.pending),
                    "changed": ids(&schema.changed),
                    "unknown": schema.unknown,
                    "last_migrated": time(schema.last_migrated),
                })
            })
            .collect()
    })
}
