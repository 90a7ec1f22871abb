//! What every command gets: the tenancy, once it is needed, and the terminal.

use std::cell::{OnceCell, RefCell};
use std::io::{self, BufRead as _};

use crate::auth::Superusers;
use crate::model::TenantModel;
use crate::tenancy::Tenancy;

use super::Source;
use super::outcome::Failure;
use super::ui::Ui;

/// The tenancy, once it is needed, and the terminal.
pub(super) struct Context<T: TenantModel> {
    source: RefCell<Option<Source<T>>>,
    tenancy: OnceCell<Tenancy<T>>,
    first_line: OnceCell<String>,
    pub(super) ui: Ui,
    /// Who stores superusers.
    pub(super) superusers: Box<dyn Superusers>,
}

impl<T: TenantModel> Context<T> {
    pub(super) fn new(source: Source<T>, ui: Ui, superusers: Box<dyn Superusers>) -> Self {
        Self {
            source: RefCell::new(Some(source)),
            tenancy: OnceCell::new(),
            first_line: OnceCell::new(),
            ui,
            superusers,
        }
    }

    /// The tenancy; the first call builds it.
    pub(super) fn tenancy(&self) -> Result<&Tenancy<T>, Failure> {
        if let Some(source) = self.source.borrow_mut().take() {
            // Nobody else can have set it: the source is there only once.
            let _ = self.tenancy.set(source()?);
        }
        self.tenancy
            .get()
            .ok_or_else(|| Failure::Error("the tenancy could not be built".into()))
    }

    /// The first line of standard input, which can be read once, for however many tenants.
    pub(super) fn first_line(&self) -> io::Result<&str> {
        if self.first_line.get().is_none() {
            let mut line = String::new();
            io::stdin().lock().read_line(&mut line)?;
            let _ = self.first_line.set(line);
        }
        let line = self.first_line.get().map_or("", String::as_str);
        Ok(line.trim_end_matches(['\r', '\n']))
    }
}
