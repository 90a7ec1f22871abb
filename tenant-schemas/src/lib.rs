#![doc = include_str!("../README.md")]
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | what a program holds, and a request with it | [`Tenancy`], [`TenancyBuilder`], [`TenantPool`], [`PooledConnection`] |
//! | tenants: the model | [`TenantModel`](derive@TenantModel), [`DomainModel`](derive@DomainModel), [`Field`], [`FieldRole`] |
//! | tenants: their life | [`Lifecycle`], [`SaveOptions`], [`DeleteOptions`], [`Domains`] |
//! | apps, and models that belong to them | [`shared_app`], [`tenant_app`], [`App`], [`AppScope`], [`DeclaredTable`] |
//! | isolation | [`TenantConnection`], [`SetCalls`], [`SearchPath`], [`SchemaName`], [`SchemaNamePolicy`] |
//! | migrations, deployments, coming from Diesel | [`Migrate`], [`Report`], [`Pending`], [`MigrationId`], [`Executor`] |
//! | the state of a fleet | [`Tenancy::status`], [`Status`], [`Tenancy::doctor`], [`Diagnosis`] |
//! | copies of tenants, and tenants as files | [`CloneTenant`], [`DumpTenant`] |
//! | events | [`Event`], [`TenancyBuilder::listener`], [`TenancyBuilder::listener_in_transaction`] |
//! | failures | [`Error`], [`NameError`], [`FieldError`] |
//! | from a request to its tenant | the modules `resolve` and `web`; `web::actix`, `web::axum` and `web::tower`, with the features of those names |
//! | files of tenants | the module `storage`, with the feature of that name |
//! | templates of tenants | the module `templates`, with the feature of that name |
//! | sessions that count for one tenant | the module `session`, with the feature of that name |
//! | keys of tenants in a shared cache | the module [`cache_key`] |
//! | users of tenants | the module `auth`, with the feature of that name |
//! | background jobs, the periodic ones too, and provisioning by them | the module `jobs`, with the feature of that name |
//! | the command line | the module `manage`, with the feature of that name |
//! | databases and tenants for tests | the module `testing`, with the feature of that name |
//!
//! Where an example says no more about it, `Client`, `Customers`, `Hotels` and
//! `rooms` are those of the program above, `tenancy` is built of them, and
//! `acme` and `globex` are tenants that were saved.

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod app;
#[cfg(feature = "auth")]
pub mod auth;
mod builder;
pub mod cache_key;
mod catalog;
mod changes;
mod clone;
mod connection;
mod derive;
mod directory;
mod doctor;
mod domain;
mod dump;
mod error;
mod event;
#[cfg(feature = "jobs")]
pub mod jobs;
mod keys;
mod ledger;
#[cfg(feature = "manage")]
pub mod manage;
mod migrate;
mod model;
mod name;
mod path;
mod pool;
mod pooler;
mod provision;
mod random;
mod registry;
mod report;
#[cfg(feature = "resolve")]
pub mod resolve;
mod rules;
mod script;
mod secret;
#[cfg(feature = "session")]
pub mod session;
mod sql;
mod statement;
mod status;
#[cfg(feature = "storage")]
pub mod storage;
mod table;
#[cfg(feature = "templates")]
pub mod templates;
mod tenancy;
#[cfg(feature = "testing")]
pub mod testing;
mod token;
#[cfg(feature = "web")]
pub mod web;

pub use app::{App, AppScope};
pub use builder::TenancyBuilder;
pub use clone::{CloneOptions, CloneTenant, Copied};
pub use connection::{
    SetCalls, TenantConnection, TenantTransactionBuilder, TenantTransactionManager,
};
pub use derive::{DomainModel, TenantModel, shared_app, tenant_app};
pub use doctor::{Check, Diagnosis, Finding, FindingGroup, Severity};
pub use domain::Domains;
pub use dump::{DumpOptions, DumpTenant, RestoreOptions};
pub use error::{BoxError, Error, Result};
pub use event::{Event, ListenerFailure, Subject};
#[cfg(feature = "manage")]
pub use manage::manage;
pub use migrate::{
    Executor, ListedMigration, ListedSchema, Migrate, Migrated, Parallel, Pending,
    PlannedMigration, PlannedSchema, Sequential,
};
pub use model::{DomainModel, DomainTable, Field, FieldError, FieldRole, RowId, TenantModel};
pub use name::{NameError, SchemaName, SchemaNamePolicy};
pub use path::SearchPath;
pub use pool::{PooledConnection, TenantPool};
pub use provision::{
    DeleteOptions, Deleted, Filled, KeepReady, Lifecycle, ReadySchemas, SaveOptions, Saved,
};
pub use report::{Outcome, Report};
pub use script::MigrationId;
pub use status::{SchemaStatus, Status, StatusGroup};
pub use table::{DeclaredTable, TableName};
pub use tenancy::Tenancy;
