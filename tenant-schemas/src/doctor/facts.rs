//! [`Facts`]: everything that a doctor looks at, read in few statements.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use diesel::Connection as _;
use diesel::pg::PgConnection;
use diesel::result::QueryResult;

use crate::connection::TenantConnection;
use crate::error::{Error, Result, chain};
use crate::ledger::Applied;
use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::provision::Lifecycle as _;
use crate::registry::{Kind, Registry};
use crate::script::MigrationId;
use crate::sql;
use crate::sql::doctor::{
    BloatRow, PathSettingRow, SchemaRow, SizeRow, StateRow, UnfinishedRow, WholeLedger, WidestRow,
};
use crate::table::DeclaredTable;
use crate::tenancy::Tenancy;

use super::shape::Shape;

/// How often everything is read again because a schema went away meanwhile.
const TRIES: usize = 12;

/// How long to wait in between: where tenants come and go, some drop is always under way.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(25);

/// Dead rows in a catalog that are not worth a word.
const DEAD_ROWS: i64 = 10_000;

/// Everything that a doctor looks at.
pub(super) struct Facts {
    pub(super) public: SchemaName,
    /// The tenants but the public one, or why they can't be read.
    pub(super) tenants: Result<Vec<Tenant>, String>,
    /// Every schema that is not PostgreSQL's own, by name.
    pub(super) schemas: BTreeMap<String, SchemaRow>,
    /// `None` if there is no table of states.
    pub(super) states: Option<Vec<StateRow>>,
    /// By the schema's name.
    pub(super) ledgers: HashMap<String, Ledger>,
    /// What a ledger has whose fingerprint is an expected one, by fingerprint.
    expected: HashMap<String, Vec<Applied>>,
    /// By the schema's oid: of tenants, and of the other schemas on their paths.
    pub(super) shapes: HashMap<u32, Arc<Shape>>,
    pub(super) unfinished: Vec<UnfinishedRow>,
    pub(super) rules: Vec<BrokenRule>,
    pub(super) settings: HashMap<String, String>,
    pub(super) size: SizeRow,
    pub(super) widest: Option<WidestRow>,
    pub(super) bloat: Vec<BloatRow>,
    pub(super) path_settings: Vec<PathSettingRow>,
}

/// A tenant's row, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tenant {
    pub(super) schema: SchemaName,
    pub(super) kind: Kind,
}

/// A schema's ledger.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    pub(super) fingerprint: String,
    /// `None` if the fingerprint is one that this program expects of some kind of schema.
    pub(super) applied: Option<Vec<Applied>>,
    /// The fingerprint in the table of states, at the same instant.
    pub(super) state: Option<String>,
}

/// A column that has to be unique, and nothing sees to it.
#[derive(Debug, Clone)]
pub(super) struct BrokenRule {
    /// Quoted.
    pub(super) table: String,
    pub(super) column: String,
    /// Values that stand there more than once already.
    pub(super) duplicates: Vec<String>,
}

impl Facts {
    pub(super) fn read<T: TenantModel>(tenancy: &Tenancy<T>) -> Result<Self> {
        let mut tries = TRIES;
        loop {
            tries -= 1;
            match Self::read_once(tenancy) {
                // What was dropped between two statements is not there the next time.
                Err(Error::Database { doing, source }) if tries > 0 => {
                    log::debug!("looking again, {doing} failed: {source}");
                    std::thread::sleep(PAUSE);
                }
                result => return result,
            }
        }
    }

    fn read_once<T: TenantModel>(tenancy: &Tenancy<T>) -> Result<Self> {
        let registry = tenancy.registry();
        let mut conn = tenancy.public()?;
        let mut facts = conn
            .build_transaction()
            .repeatable_read()
            .read_only()
            .run(|conn| {
                let tenants = tenants::<T>(conn, registry)?;
                conn.own(|inner| Self::catalog(inner, registry, tenants))
                    .map_err(|error| Error::database("examining the database", error))
            })?;
        facts.expected = facts.expected(registry);
        // Not in the transaction, which would hold the locks of all of them.
        facts.ledgers = conn
            .own(|inner| facts.read_ledgers(inner))
            .map_err(|error| Error::database("reading the ledgers", error))?;
        Ok(facts)
    }

    fn catalog(
        conn: &mut PgConnection,
        registry: &Registry,
        tenants: Result<Vec<Tenant>, String>,
    ) -> QueryResult<Self> {
        let public = registry.public();
        let settings = sql::doctor::settings(conn, super::server::SETTINGS)?
            .into_iter()
            .map(|row| (row.name, row.value))
            .collect();
        let rules = broken_rules(conn, registry)?;
        sql::doctor::print_qualified(conn)?;
        let schemas: BTreeMap<String, SchemaRow> = sql::doctor::schemas(conn)?
            .into_iter()
            .map(|row| (row.name.clone(), row))
            .collect();
        let states = if sql::ledger::bookkeeping(conn, public, public)?.state {
            Some(sql::doctor::states(conn, public)?)
        } else {
            None
        };
        let oid = |name: &str| schemas.get(name).map(|row| row.oid);
        let fleet: Vec<u32> = tenants
            .iter()
            .flatten()
            .filter_map(|tenant| oid(tenant.schema.as_str()))
            .collect();
        let declared: Vec<String> = DeclaredTable::all()
            .filter_map(|table| table.table().schema().map(str::to_owned))
            .collect();
        let mut beside: Vec<u32> = std::iter::once(public)
            .chain(&registry.policy.extra)
            .map(SchemaName::as_str)
            .chain(declared.iter().map(String::as_str))
            .filter_map(oid)
            .filter(|oid| !fleet.contains(oid))
            .collect();
        beside.sort_unstable();
        beside.dedup();
        let all: Vec<u32> = fleet.iter().chain(&beside).copied().collect();
        Ok(Self {
            shapes: shapes(conn, &fleet, &beside)?,
            unfinished: sql::doctor::unfinished(conn, &all)?,
            size: sql::doctor::size(conn)?,
            widest: sql::doctor::widest(conn, &fleet)?,
            bloat: sql::doctor::bloat(conn, DEAD_ROWS)?,
            path_settings: sql::doctor::path_settings(conn)?,
            public: public.clone(),
            ledgers: HashMap::new(),
            expected: HashMap::new(),
            tenants,
            schemas,
            states,
            rules,
            settings,
        })
    }

    fn expected(&self, registry: &Registry) -> HashMap<String, Vec<Applied>> {
        let mut kinds = vec![&Kind::Shared];
        for tenant in self.tenants.iter().flatten() {
            if !kinds.contains(&&tenant.kind) {
                kinds.push(&tenant.kind);
            }
        }
        kinds
            .into_iter()
            .map(|kind| (registry.fingerprint(kind), known(registry, kind)))
            .collect()
    }

    fn read_ledgers(&self, conn: &mut PgConnection) -> QueryResult<HashMap<String, Ledger>> {
        let expected: Vec<String> = self.expected.keys().cloned().collect();
        let names: Vec<&str> = self
            .schemas
            .values()
            .filter(|row| row.ledger)
            .map(|row| row.name.as_str())
            .collect();
        let state = self.states.is_some().then_some(&self.public);
        let mut ledgers = HashMap::new();
        for names in names.chunks(sql::ledgers::AT_ONCE) {
            let rows = sql::doctor::whole_ledgers(conn, state, names, &expected)?;
            ledgers.extend(rows.into_iter().map(Ledger::of));
        }
        Ok(ledgers)
    }

    /// The tenants whose schemas exist, and what these have.
    pub(super) fn fleet(&self) -> impl Iterator<Item = (&Tenant, &Arc<Shape>)> {
        self.tenants.iter().flatten().filter_map(|tenant| {
            let row = self.schemas.get(tenant.schema.as_str())?;
            Some((tenant, self.shapes.get(&row.oid)?))
        })
    }

    /// What a schema has, if it is one of the fleet or of those on its paths.
    pub(super) fn shape(&self, schema: &str) -> Option<&Arc<Shape>> {
        self.shapes.get(&self.schemas.get(schema)?.oid)
    }

    /// The schema with this oid.
    pub(super) fn schema(&self, oid: u32) -> Option<SchemaName> {
        let row = self.schemas.values().find(|row| row.oid == oid)?;
        name_of(&row.name)
    }

    /// The migrations that a schema has.
    pub(super) fn applied(&self, schema: &SchemaName) -> &[Applied] {
        self.ledgers
            .get(schema.as_str())
            .and_then(|ledger| match &ledger.applied {
                Some(applied) => Some(applied),
                None => self.expected.get(&ledger.fingerprint),
            })
            .map_or(&[], Vec::as_slice)
    }

    /// The migrations that a schema lacks.
    pub(super) fn pending<'a>(
        &self,
        registry: &'a Registry,
        schema: &SchemaName,
        kind: &Kind,
    ) -> Vec<&'a MigrationId> {
        let applied = self.applied(schema);
        registry
            .apps_of(kind)
            .flat_map(|app| &app.scripts)
            .map(|script| &script.id)
            .filter(|id| !id.is_in(applied))
            .collect()
    }
}

impl Ledger {
    fn of(row: WholeLedger) -> (String, Self) {
        let parse = |lines: Vec<String>| {
            lines
                .iter()
                .filter_map(|line| Applied::parse(line))
                .collect()
        };
        let ledger = Self {
            fingerprint: row.fingerprint,
            applied: row.applied.map(parse),
            state: row.state,
        };
        (row.schema_name, ledger)
    }
}

/// A schema's name, if it is one that a tenant can have.
pub(super) fn name_of(name: &str) -> Option<SchemaName> {
    SchemaName::with_policy(name, crate::SchemaNamePolicy::Quoted).ok()
}

/// Everything that this program would apply in a schema of this kind.
fn known(registry: &Registry, kind: &Kind) -> Vec<Applied> {
    registry
        .apps_of(kind)
        .flat_map(|app| &app.scripts)
        .map(|script| Applied {
            app: script.id.app.clone(),
            version: script.id.version.clone(),
            checksum: script.checksum.clone(),
        })
        .collect()
}

/// The tenants but the public one. That they can't be read is a finding, not a failure.
fn tenants<T: TenantModel>(
    conn: &mut TenantConnection,
    registry: &Registry,
) -> Result<Result<Vec<Tenant>, String>> {
    let table = crate::rules::quoted(registry, &registry.tenant_table);
    let exists = conn
        .own(|inner| sql::tables::table_exists(inner, &table))
        .map_err(|error| Error::database("looking for the tenants", error))?;
    if !exists {
        return Ok(Err(format!("there is no table {table}")));
    }
    let mut tenants = match conn.transaction(T::all) {
        Ok(tenants) => tenants,
        Err(error) => return Ok(Err(chain(&error))),
    };
    tenants.retain(|tenant| tenant.schema_name() != registry.public());
    // Two rows of one schema are for the rules to find.
    tenants.dedup_by(|a, b| a.schema_name() == b.schema_name());
    Ok(Ok(tenants
        .iter()
        .map(|tenant| Tenant {
            schema: tenant.schema_name().clone(),
            kind: Kind::Tenant(tenant.tenant_type()),
        })
        .collect()))
}

/// What each schema has; tenants that have the same are read once.
fn shapes(
    conn: &mut PgConnection,
    fleet: &[u32],
    beside: &[u32],
) -> QueryResult<HashMap<u32, Arc<Shape>>> {
    let mut examples: HashMap<String, u32> = HashMap::new();
    let mut example_of: HashMap<u32, u32> = beside.iter().map(|oid| (*oid, *oid)).collect();
    for row in sql::doctor::shapes(conn, fleet)? {
        let example = *examples.entry(row.hash).or_insert(row.schema);
        example_of.insert(row.schema, example);
    }
    let read: Vec<u32> = beside.iter().chain(examples.values()).copied().collect();
    let mut shapes: HashMap<u32, Shape> = HashMap::new();
    for row in sql::doctor::objects_of(conn, &read)? {
        shapes.entry(row.schema).or_default().add(row);
    }
    let shapes: HashMap<u32, Arc<Shape>> = shapes
        .into_iter()
        .map(|(oid, shape)| (oid, Arc::new(shape)))
        .collect();
    // A schema that has nothing has no rows.
    let empty = Arc::new(Shape::default());
    let of = |oid: &u32| example_of.get(oid).and_then(|example| shapes.get(example));
    Ok(fleet
        .iter()
        .chain(beside)
        .map(|oid| (*oid, Arc::clone(of(oid).unwrap_or(&empty))))
        .collect())
}

fn broken_rules(conn: &mut PgConnection, registry: &Registry) -> QueryResult<Vec<BrokenRule>> {
    let mut broken = Vec::new();
    for (table, column, only) in crate::rules::all(registry) {
        let table = crate::rules::quoted(registry, table);
        if sql::tables::table_exists(conn, &table)?
            && !sql::tables::has_unique_index(conn, &table, column, only.is_some())?
        {
            broken.push(BrokenRule {
                duplicates: sql::doctor::duplicates(conn, &table, column, only)?,
                column: column.to_owned(),
                table,
            });
        }
    }
    Ok(broken)
}
