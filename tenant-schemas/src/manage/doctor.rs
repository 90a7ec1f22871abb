//! `doctor`: what is wrong with the fleet, and what to do about it.

use std::collections::HashSet;
use std::fmt::Write as _;

use clap::Parser;
use console::style;
use serde_json::json;

use crate::doctor::{Check, Finding, FindingGroup, Severity};
use crate::model::TenantModel;

use super::context::Context;
use super::outcome::{Done, Exit, Failure, heard};
use super::output::{self, Format, Output};
use super::progress::Progress;
use super::table::{Table, count};
use super::targets::Targets;
use super::width::fitting;

/// Looks for what is wrong with the fleet, and says what to do about it
///
/// Missing and orphaned schemas, ledgers that contradict each other, changed and unknown migrations,
/// tables that differ from those of the other tenants or from the declared Diesel tables, a tenant's table
/// shadowed by one in public, invalid indexes, and settings of the server that will bite at this size.
/// It changes nothing. With `--schema` or `--exclude` only what was found in those schemas is told, and
/// neither schemas that are no tenant's nor the server's settings.
///
/// The exit code is 1 if anything is found that is at least as bad as `--fail-on`.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  doctor
  doctor --fail-on error                 for continuous integration that lives with warnings
  doctor --ignore invalid_index --ignore lock_slots
  doctor --format json")]
pub(super) struct Args {
    /// How bad a finding has to be to make the exit code 1.
    #[arg(long, value_enum, default_value = "warning", value_name = "SEVERITY")]
    fail_on: Level,
    /// Leave out what is less bad.
    #[arg(long, value_enum, default_value = "info", value_name = "SEVERITY")]
    severity: Level,
    /// Leave this kind of finding out. May be given repeatedly.
    #[arg(long, value_name = "CHECK", value_parser = check)]
    ignore: Vec<Check>,
    #[command(flatten)]
    targets: Targets,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Level {
    Info,
    Warning,
    Error,
}

impl Level {
    fn severity(self) -> Severity {
        match self {
            Self::Info => Severity::Info,
            Self::Warning => Severity::Warning,
            Self::Error => Severity::Error,
        }
    }
}

fn check(code: &str) -> Result<Check, String> {
    let found = Check::ALL.iter().find(|check| check.code() == code);
    found.copied().ok_or_else(|| {
        let known: Vec<&str> = Check::ALL.iter().map(|check| check.code()).collect();
        format!("there are {}", known.join(", "))
    })
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

pub(super) fn run<T: TenantModel>(args: &Args, context: &Context<T>) -> Done {
    let tenancy = context.tenancy()?;
    let chosen = args.targets.names(tenancy)?;
    let progress = Progress::waiting(context.ui, "looking at every schema");
    let diagnosis = tenancy.doctor()?;
    progress.end();
    let wanted = |check: Check, severity: Severity| {
        severity >= args.severity.severity() && !args.ignore.contains(&check)
    };
    let mut groups: Vec<FindingGroup<'_>> = diagnosis
        .groups()
        .into_iter()
        .filter(|group| wanted(group.first.check, group.first.severity))
        .collect();
    if let Some(chosen) = &chosen {
        groups = in_schemas(groups, chosen);
    }
    if args.output.format == Format::Table {
        heard(output::print(
            &groups.iter().map(paragraph).collect::<String>(),
        ))?;
    } else {
        heard(list(&groups, args.output.format))?;
    }
    let of = |severity| {
        groups
            .iter()
            .filter(|group| group.first.severity == severity)
            .count()
    };
    context.ui.note(&if groups.is_empty() {
        "Nothing is wrong.".to_owned()
    } else {
        format!(
            "{}, {}, {}",
            count(of(Severity::Error), "error"),
            count(of(Severity::Warning), "warning"),
            count(of(Severity::Info), "remark")
        )
    });
    let worst = groups.iter().map(|group| group.first.severity).max();
    Ok(if worst >= Some(args.fail_on.severity()) {
        Exit::Failed
    } else {
        Exit::Done
    })
}

/// What was found in these schemas.
fn in_schemas<'a>(
    groups: Vec<FindingGroup<'a>>,
    chosen: &HashSet<String>,
) -> Vec<FindingGroup<'a>> {
    let inside = |finding: &&Finding| {
        let schema = finding.schema.as_ref();
        schema.is_some_and(|schema| chosen.contains(schema.as_str()))
    };
    let narrowed = groups.into_iter().filter_map(|mut group| {
        group.findings.retain(inside);
        group.first = group.findings.first()?;
        Some(group)
    });
    narrowed.collect()
}

/// A group of findings for people.
fn paragraph(group: &FindingGroup<'_>) -> String {
    let finding = group.first;
    let severity = match finding.severity {
        Severity::Info => style(word(finding.severity)).cyan(),
        Severity::Warning => style(word(finding.severity)).yellow(),
        Severity::Error => style(word(finding.severity)).red(),
    };
    let schemas: Vec<&str> = group
        .findings
        .iter()
        .filter_map(|finding| finding.schema.as_ref().map(crate::SchemaName::as_str))
        .collect();
    let whose = match schemas.len() {
        0 => String::new(),
        1 => format!(" in {}", schemas[0]),
        many => format!(" in {many} schemas"),
    };
    // What is said of the schema itself has it as its subject.
    let subject = match schemas.as_slice() {
        [first, ..] if *first == finding.subject => String::new(),
        _ => format!(" {}", style(&finding.subject).bold()),
    };
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}{subject}{whose} {}",
        severity.bold(),
        style(format!("[{}]", finding.check.code())).dim()
    );
    let _ = writeln!(text, "  {}", finding.message);
    if schemas.len() > 1 {
        let _ = writeln!(text, "  {}", fitting(&schemas, 2));
    }
    let _ = writeln!(text, "  {} {}", style("->").green(), finding.advice);
    if let Some(sql) = &finding.sql {
        let _ = writeln!(text, "     {}", sql.replace('\n', "\n     "));
    }
    if let [first, _, ..] = schemas.as_slice()
        && (finding.advice.contains(first)
            || finding.sql.as_ref().is_some_and(|sql| sql.contains(first)))
    {
        let _ = writeln!(
            text,
            "     {}",
            style(format!(
                "that is for {first}; `--format json` has it for each"
            ))
            .dim()
        );
    }
    text.push('\n');
    text
}

/// Every finding for programs.
fn list(groups: &[FindingGroup<'_>], format: Format) -> Result<(), Failure> {
    let findings = || groups.iter().flat_map(|group| &group.findings);
    let mut table = Table::new([
        "severity", "check", "schema", "subject", "message", "advice",
    ]);
    for finding in findings() {
        table.row([
            word(finding.severity),
            finding.check.code(),
            finding
                .schema
                .as_ref()
                .map_or("", crate::SchemaName::as_str),
            &finding.subject,
            &finding.message,
            &finding.advice,
        ]);
    }
    format.write(&table, || {
        findings()
            .map(|finding| {
                json!({
                    "severity": word(finding.severity),
                    "check": finding.check.code(),
                    "schema": finding.schema.as_ref().map(crate::SchemaName::as_str),
                    "subject": finding.subject,
                    "message": finding.message,
                    "advice": finding.advice,
                    "sql": finding.sql,
                })
            })
            .collect()
    })
}
