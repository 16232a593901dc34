// Names that build.mjs fills in: URLs of assets, relative to the page.
declare const WORKER_URL: string
declare const WORLD_COARSE_URL: string
declare const WORLD_FINE_URL: string
declare const PLACES_URL: string
