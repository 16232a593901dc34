// Names that build.mjs fills in for the worker.
declare const SHELL: string[] // URLs of all that the page needs to open, relative to the worker
declare const VERSION: string // of these files
