//! The plan: what has to run in a schema, worked out without a database.

use crate::error::{Error, Result};
use crate::ledger::Applied;
use crate::name::SchemaName;
use crate::registry::{Kind, LoadedApp, Registry};
use crate::script::{Body, MigrationId, Script};

/// How far to go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Target {
    /// Everything that is pending.
    #[default]
    Latest,
    /// One app, up or down to a version, which is given as written by the user.
    Version(String),
    /// One app, down to nothing.
    Zero,
    /// The last migration of one app, down and up again.
    Redo,
}

/// What a run is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) app: Option<String>,
    pub(crate) target: Target,
}

/// One migration that has to run.
#[derive(Clone, Copy)]
pub(crate) struct Step<'a> {
    pub(crate) app: &'a LoadedApp,
    pub(crate) script: &'a Script,
    pub(crate) reverted: bool,
}

impl Step<'_> {
    pub(crate) fn id(&self) -> &MigrationId {
        &self.script.id
    }

    /// What the step runs.
    pub(crate) fn body(&self) -> Result<Body> {
        if !self.reverted {
            return Ok(self.script.up.clone());
        }
        self.script.down.clone().ok_or_else(|| Error::Irreversible {
            app: self.id().app.clone(),
            version: self.id().name.clone(),
        })
    }
}

/// Fails if a step can't be done, before the first one is.
pub(crate) fn refuse_irreversible(steps: &[Step<'_>]) -> Result<()> {
    steps.iter().try_for_each(|step| step.body().map(drop))
}

/// Refuses to go down beneath migrations that are applied and that this program does not have: they may
/// build on what would go, and would count as applied all the same.
pub(crate) fn refuse_unknown(
    schema: &SchemaName,
    applied: &[Applied],
    steps: &[Step<'_>],
) -> Result<()> {
    for step in steps.iter().filter(|step| step.reverted) {
        let id = step.id();
        let known = |own: &Applied| {
            step.app
                .scripts
                .iter()
                .any(|script| script.id.version == own.version)
        };
        let above = |own: &&Applied| own.app == id.app && own.version > id.version && !known(own);
        let unknown: Vec<String> = applied
            .iter()
            .filter(above)
            .map(|own| own.version.clone())
            .collect();
        if !unknown.is_empty() {
            return Err(Error::BeneathUnknown {
                schema: schema.clone(),
                app: id.app.clone(),
                version: id.name.clone(),
                unknown,
            });
        }
    }
    Ok(())
}

/// What has to run in a schema of this kind that has `applied`.
pub(crate) fn plan<'a>(
    registry: &'a Registry,
    kind: &Kind,
    applied: &[Applied],
    selection: &Selection,
) -> Result<Vec<Step<'a>>> {
    let mut steps = Vec::new();
    for app in registry.apps_of(kind) {
        if selection
            .app
            .as_ref()
            .is_some_and(|label| label != app.app.label())
        {
            continue;
        }
        plan_app(app, applied, &selection.target, &mut steps)?;
    }
    Ok(steps)
}

fn plan_app<'a>(
    app: &'a LoadedApp,
    applied: &[Applied],
    target: &Target,
    steps: &mut Vec<Step<'a>>,
) -> Result<()> {
    let is_applied = |script: &Script| script.id.is_in(applied);
    let up = |script| Step {
        app,
        script,
        reverted: false,
    };
    let down = |script| Step {
        app,
        script,
        reverted: true,
    };
    let scripts = &app.scripts;
    // How many of the app's migrations are wanted, from the first.
    let wanted = match target {
        Target::Latest => scripts.len(),
        Target::Zero => 0,
        Target::Version(version) => find_version(app, version)? + 1,
        Target::Redo => {
            if let Some(last) = scripts.iter().rev().find(|script| is_applied(script)) {
                steps.push(down(last));
                steps.push(up(last));
            }
            return Ok(());
        }
    };
    let surplus = scripts[wanted..].iter().rev();
    steps.extend(surplus.filter(|script| is_applied(script)).map(down));
    let missing = scripts[..wanted].iter();
    steps.extend(missing.filter(|script| !is_applied(script)).map(up));
    Ok(())
}

/// The position of the migration that a user means: by version, by full name, or by an unambiguous beginning.
pub(crate) fn find_version(app: &LoadedApp, wanted: &str) -> Result<usize> {
    let plain: String = wanted.chars().filter(|c| *c != '-').collect();
    let exact = app.scripts.iter().position(|script| {
        script.id.version == wanted || script.id.version == plain || script.id.name == wanted
    });
    if let Some(position) = exact {
        return Ok(position);
    }
    let mut beginning = app.scripts.iter().enumerate().filter(|(_, script)| {
        script.id.name.starts_with(wanted) || script.id.version.starts_with(&plain)
    });
    match (beginning.next(), beginning.next()) {
        (Some((position, _)), None) if !plain.is_empty() => Ok(position),
        _ => Err(Error::UnknownVersion {
            app: app.app.label().to_owned(),
            version: wanted.to_owned(),
            known: app
                .scripts
                .iter()
                .map(|script| script.id.name.clone())
                .collect(),
        }),
    }
}
