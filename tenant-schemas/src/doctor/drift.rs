//! Drift: tenants with the same migrations that do not have the same tables.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::name::SchemaName;
use crate::registry::Kind as SchemaKind;

use super::facts::{Facts, Tenant};
use super::shape::{Definition, Kind, Object, Shape};
use super::{Check, Finding, Severity, remedy};

/// What schemas lack, by schema and thing. Several checks know something of it;
/// each thing is one finding.
#[derive(Debug, Default)]
pub(super) struct Lacking {
    items: BTreeMap<(SchemaName, Object), Lack>,
}

/// Why a thing should be there.
#[derive(Debug, Default)]
pub(super) struct Lack {
    /// How many other tenants have it.
    pub(super) others: usize,
    /// Makes it as they have it.
    pub(super) sql: Option<String>,
    /// What else is lacking, and has to be made before.
    pub(super) after: Vec<String>,
    /// The model that declares it, and where.
    pub(super) declared: Option<String>,
    /// The schema whose table of this name is read instead.
    pub(super) shadow: Option<SchemaName>,
    /// What to do if there is no other tenant to take it from.
    pub(super) advice: String,
}

/// Tenants that should be alike.
type Group<'a> = (Option<&'a str>, Vec<(&'a str, &'a str)>);

/// Compares the tenants of each type and set of migrations, thing by thing, with the most of them.
pub(super) fn check(facts: &Facts, findings: &mut Vec<Finding>) -> Lacking {
    let mut lacking = Lacking::default();
    let mut groups: BTreeMap<Group<'_>, Vec<(&Tenant, &Arc<Shape>)>> = BTreeMap::new();
    let states: HashMap<&str, &str> = facts
        .states
        .iter()
        .flatten()
        .map(|row| (row.schema_name.as_str(), row.fingerprint.as_str()))
        .collect();
    for (tenant, shape) in facts.fleet() {
        let schema = tenant.schema.as_str();
        let then = states.get(schema).copied();
        let now = facts
            .ledgers
            .get(schema)
            .and_then(|ledger| ledger.state.as_deref());
        // Migrated between the look at its tables and the look at its ledger.
        if now.is_some() && now != then {
            continue;
        }
        let SchemaKind::Tenant(tenant_type) = &tenant.kind else {
            continue;
        };
        let mut migrations: Vec<(&str, &str)> = facts
            .applied(&tenant.schema)
            .iter()
            .map(|own| (own.app.as_str(), own.version.as_str()))
            .collect();
        migrations.sort_unstable();
        groups
            .entry((tenant_type.as_deref(), migrations))
            .or_default()
            .push((tenant, shape));
    }
    for members in groups.values() {
        compare(members, &mut lacking, findings);
    }
    lacking
}

/// Tenants that have the same.
struct Alike<'a> {
    shape: &'a Shape,
    schemas: Vec<&'a SchemaName>,
}

fn compare(members: &[(&Tenant, &Arc<Shape>)], lacking: &mut Lacking, findings: &mut Vec<Finding>) {
    let mut alike: Vec<Alike<'_>> = Vec::new();
    let mut known: HashMap<*const Shape, usize> = HashMap::new();
    for (tenant, shape) in members {
        let at = *known.entry(Arc::as_ptr(shape)).or_insert_with(|| {
            alike.push(Alike {
                shape,
                schemas: Vec::new(),
            });
            alike.len() - 1
        });
        alike[at].schemas.push(&tenant.schema);
    }
    if alike.len() < 2 {
        return;
    }
    let objects: BTreeSet<&Object> = alike
        .iter()
        .flat_map(|alike| alike.shape.objects.keys())
        .collect();
    for object in objects {
        let Some(usual) = Usual::of(object, &alike) else {
            continue;
        };
        for own in &alike {
            usual.differs(object, own, lacking, findings);
        }
    }
}

/// How most tenants have a thing.
struct Usual<'a> {
    definition: Option<&'a Definition>,
    /// How many have it so.
    count: usize,
    /// One that has it so.
    reference: &'a Shape,
    /// Its schema.
    schema: &'a SchemaName,
}

impl<'a> Usual<'a> {
    /// `None` if all have it alike. Of two halves, the one that has the thing is right.
    fn of(object: &Object, alike: &[Alike<'a>]) -> Option<Self> {
        let mut ways: Vec<Self> = Vec::new();
        for own in alike {
            let definition = own.shape.objects.get(object);
            let count = own.schemas.len();
            match ways.iter_mut().find(|way| way.definition == definition) {
                Some(way) => way.count += count,
                None => ways.push(Self {
                    definition,
                    count,
                    reference: own.shape,
                    schema: own.schemas[0],
                }),
            }
        }
        if ways.len() < 2 {
            return None;
        }
        // Of equals, `max_by_key` takes the last: the first tenant's way is to be the last.
        ways.reverse();
        ways.into_iter()
            .max_by_key(|way| (way.count, way.definition.is_some()))
    }

    fn differs(
        &self,
        object: &Object,
        alike: &Alike<'_>,
        lacking: &mut Lacking,
        findings: &mut Vec<Finding>,
    ) {
        let own = alike.shape.objects.get(object);
        if own == self.definition {
            return;
        }
        if !object.kind.is_relation() && object.kind != Kind::Enum {
            // Without the table there is nothing to say of its columns.
            let both = [alike.shape, self.reference];
            if both
                .iter()
                .any(|shape| !shape.has_relation(&object.relation))
                || object.kind == Kind::Column
                    && both.iter().any(|shape| shape.is_view(&object.relation))
            {
                return;
            }
        }
        for schema in &alike.schemas {
            match (own, self.definition) {
                (None, _) => {
                    let lack = lacking.item(schema, object);
                    lack.others = self.count;
                    lack.sql = remedy::make(schema.as_str(), object, self.reference);
                }
                (Some(_), None) => findings.push(self.extra(object, schema)),
                (Some(own), Some(usual))
                    if own.is_like(usual, schema) || usual.is_like(own, self.schema) => {}
                (Some(own), Some(usual)) => findings.push(self.other(object, schema, own, usual)),
            }
        }
    }

    fn extra(&self, object: &Object, schema: &SchemaName) -> Finding {
        Finding::new(Check::Drift, Severity::Warning, object.subject())
            .in_schema(schema)
            .message(format!(
                "has {}, which {} not have",
                object.describe(),
                others(self.count, "does", "do")
            ))
            .advice(format!(
                "give it to all with a migration, or remove it and what is in it: `{}`",
                remedy::remove(schema.as_str(), object)
            ))
    }

    fn other(
        &self,
        object: &Object,
        schema: &SchemaName,
        own: &Definition,
        usual: &Definition,
    ) -> Finding {
        let finding = Finding::new(Check::Drift, Severity::Warning, object.subject())
            .in_schema(schema)
            .message(format!(
                "{} is `{}`, and `{}` in {}",
                object.describe(),
                own.whole(),
                usual.whole(),
                others(self.count, "", "").trim_end(),
            ));
        match remedy::change(schema.as_str(), object, own, usual) {
            Some(sql) => finding.advice("make it the same").sql(sql),
            None if object.kind == Kind::Column => finding.advice(format!(
                "make it the same, once it is sure that all values fit: `{}`",
                remedy::change_type(schema.as_str(), object, usual)
            )),
            None => finding.advice("make it the same by hand"),
        }
    }
}

/// Says `1 other has`, `41 others have`.
fn others(count: usize, one: &str, many: &str) -> String {
    if count == 1 {
        format!("1 other {one}")
    } else {
        format!("{count} others {many}")
    }
}

impl Lacking {
    /// What is known of the lack of a thing.
    pub(super) fn item(&mut self, schema: &SchemaName, object: &Object) -> &mut Lack {
        self.items
            .entry((schema.clone(), object.clone()))
            .or_default()
    }

    /// The tables and views that are lacking, by schema.
    pub(super) fn relations_mut(&mut self) -> impl Iterator<Item = (&SchemaName, &str, &mut Lack)> {
        self.items
            .iter_mut()
            .filter(|((_, object), _)| object.kind.is_relation())
            .map(|((schema, object), lack)| (schema, object.relation.as_str(), lack))
    }

    pub(super) fn into_findings(mut self) -> impl Iterator<Item = Finding> {
        self.note_order();
        self.items
            .into_iter()
            .map(|((schema, object), lack)| lack.into_finding(&schema, &object))
    }

    /// Notes what has to be made before something else that refers to it.
    fn note_order(&mut self) {
        let is_named = |object: &Object| object.kind.is_relation() || object.kind == Kind::Enum;
        let mut names: HashMap<SchemaName, BTreeSet<String>> = HashMap::new();
        for (schema, object) in self.items.keys().filter(|(_, object)| is_named(object)) {
            let names = names.entry(schema.clone()).or_default();
            names.insert(object.relation.clone());
        }
        for ((schema, object), lack) in &mut self.items {
            let (Some(names), Some(sql)) = (names.get(schema), &lack.sql) else {
                continue;
            };
            let words: BTreeSet<&str> = sql
                .split(|c: char| !c.is_alphanumeric() && c != '_' && c != '$')
                .collect();
            lack.after = names
                .iter()
                .filter(|name| **name != object.relation && words.contains(name.as_str()))
                .cloned()
                .collect();
        }
    }
}

impl Lack {
    fn into_finding(self, schema: &SchemaName, object: &Object) -> Finding {
        let thing = object.describe();
        let mut why = Vec::new();
        if self.others > 0 {
            why.push(others(self.others, "has", "have"));
        }
        if let Some(declared) = &self.declared {
            why.push(format!("{declared} declares"));
        }
        let mut message = format!("lacks {thing}, which {}", why.join(" and "));
        let check = if let Some(shadow) = &self.shadow {
            message = format!(
                "{message}: a query in this tenant reads and writes {shadow}.{} instead, in silence",
                object.relation
            );
            Check::ShadowedTable
        } else if self.others > 0 {
            Check::Drift
        } else if object.kind == Kind::Column {
            Check::MissingColumn
        } else {
            Check::MissingTable
        };
        let is_data = object.kind.is_relation() || object.kind == Kind::Column;
        let severity = if is_data {
            Severity::Error
        } else {
            Severity::Warning
        };
        let finding = Finding::new(check, severity, object.subject())
            .in_schema(schema)
            .message(message);
        match self.sql {
            Some(sql) if object.kind == Kind::Column => finding
                .advice(
                    "add it as the others have it; where rows need a value that it has no default for, \
                     add it without NOT NULL and fill it first",
                )
                .sql(sql),
            Some(sql) if self.after.is_empty() => {
                finding.advice("make it as the others have it").sql(sql)
            }
            Some(sql) => finding
                .advice(format!(
                    "make it as the others have it, after {}",
                    self.after.join(", ")
                ))
                .sql(sql),
            None if self.advice.is_empty() => finding.advice("make it as the others have it"),
            None => finding.advice(self.advice),
        }
    }
}
