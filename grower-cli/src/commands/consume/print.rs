//! Prints records on standard output, in the requested form.

use crate::options::OutputForm;
use crate::output::{RecordJson, StdoutWriter, Template, json_line};
use grower_client::ConsumerRecord;
use std::io::{self, Write};

/// Prints records.
pub(super) struct Printer {
    out: StdoutWriter,
    form: RecordForm,
}

enum RecordForm {
    /// The value and a newline.
    Raw,
    Json,
    Template(Template),
}

impl Printer {
    /// A template overrides the output form.
    pub(super) fn new(output: OutputForm, template: Option<Template>) -> Self {
        let form = match (template, output) {
            (Some(template), _) => RecordForm::Template(template),
            (None, OutputForm::Json) => RecordForm::Json,
            (None, OutputForm::Table) => RecordForm::Raw,
        };
        Self { out: StdoutWriter::open(), form }
    }

    pub(super) fn print(&mut self, record: &ConsumerRecord) -> io::Result<()> {
        match &self.form {
            RecordForm::Raw => {
                self.out.write_all(record.value.as_deref().unwrap_or_default())?;
                self.out.write_all(b"\n")
            }
            RecordForm::Json => json_line(&mut self.out, &RecordJson(record)),
            RecordForm::Template(template) => template.write(record, &mut self.out),
        }
    }

    /// Flushes: the printed records have reached the reader once this returns.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
