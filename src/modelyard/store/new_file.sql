CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE models (
	id INTEGER NOT NULL,
	name VARCHAR(63) NOT NULL,
	created FLOAT NOT NULL, last INTEGER DEFAULT '0' NOT NULL, project VARCHAR(63) DEFAULT 'default' NOT NULL,
	CONSTRAINT pk_models PRIMARY KEY (id),
	CONSTRAINT uq_models_name UNIQUE (name)
);
CREATE TABLE versions (
	id INTEGER NOT NULL,
	model_id INTEGER NOT NULL,
	number INTEGER NOT NULL,
	digest VARCHAR(64) NOT NULL,
	manifest_json TEXT NOT NULL,
	analysis_json TEXT NOT NULL,
	trusted BOOLEAN NOT NULL,
	created FLOAT NOT NULL, trusted_by VARCHAR(255), trusted_because TEXT, quarantine TEXT,
	CONSTRAINT pk_versions PRIMARY KEY (id),
	CONSTRAINT fk_versions_model_id FOREIGN KEY(model_id) REFERENCES models (id) ON DELETE CASCADE,
	CONSTRAINT uq_versions_model_id_number UNIQUE (model_id, number),
	CONSTRAINT uq_versions_model_id_digest UNIQUE (model_id, digest)
);
CREATE TABLE uploads (
	id VARCHAR(32) NOT NULL,
	manifest_json TEXT NOT NULL,
	created FLOAT NOT NULL,
	expires FLOAT NOT NULL, project VARCHAR(63) DEFAULT 'default' NOT NULL, proving BOOLEAN DEFAULT 0 NOT NULL,
	CONSTRAINT pk_uploads PRIMARY KEY (id)
);
CREATE TABLE endpoints (
	id INTEGER NOT NULL,
	name VARCHAR(63) NOT NULL,
	created FLOAT NOT NULL, home VARCHAR(32), project VARCHAR(63) DEFAULT 'default' NOT NULL,
	CONSTRAINT pk_endpoints PRIMARY KEY (id),
	CONSTRAINT uq_endpoints_name UNIQUE (name)
);
CREATE TABLE deployments (
	id VARCHAR(32) NOT NULL,
	endpoint_id INTEGER NOT NULL,
	revision INTEGER NOT NULL,
	model VARCHAR(63) NOT NULL,
	version INTEGER NOT NULL,
	settings_json TEXT NOT NULL,
	state VARCHAR(16) NOT NULL,
	environment VARCHAR(64),
	reason TEXT,
	created FLOAT NOT NULL,
	CONSTRAINT pk_deployments PRIMARY KEY (id),
	CONSTRAINT fk_deployments_endpoint_id FOREIGN KEY(endpoint_id) REFERENCES endpoints (id) ON DELETE CASCADE,
	CONSTRAINT uq_deployments_endpoint_id_revision UNIQUE (endpoint_id, revision),
	CONSTRAINT uq_deployments_endpoint_id_id UNIQUE (endpoint_id, id)
);
CREATE INDEX ix_deployments_model ON deployments (model);
CREATE TABLE traffic (
	endpoint_id INTEGER NOT NULL,
	wanted VARCHAR(32) NOT NULL,
	serving VARCHAR(32),
	CONSTRAINT pk_traffic PRIMARY KEY (endpoint_id),
	CONSTRAINT fk_traffic_endpoint_id FOREIGN KEY(endpoint_id) REFERENCES endpoints (id) ON DELETE CASCADE,
	CONSTRAINT fk_traffic_endpoint_id_wanted FOREIGN KEY(endpoint_id, wanted) REFERENCES deployments (endpoint_id, id),
	CONSTRAINT fk_traffic_endpoint_id_serving FOREIGN KEY(endpoint_id, serving) REFERENCES deployments (endpoint_id, id)
);
CREATE TABLE jobs (
	number INTEGER NOT NULL,
	id VARCHAR(32) NOT NULL,
	kind VARCHAR(32) NOT NULL,
	subject VARCHAR(255) NOT NULL,
	state VARCHAR(16) NOT NULL,
	stages_json TEXT NOT NULL,
	stage VARCHAR(64),
	parameters_json TEXT NOT NULL,
	result_json TEXT,
	error_json TEXT,
	created FLOAT NOT NULL,
	updated FLOAT NOT NULL,
	owner VARCHAR(255),
	lease FLOAT, home VARCHAR(32), project VARCHAR(63) DEFAULT 'default' NOT NULL,
	CONSTRAINT pk_jobs PRIMARY KEY (number),
	CONSTRAINT uq_jobs_id UNIQUE (id)
);
CREATE INDEX ix_jobs_state ON jobs (state);
CREATE TABLE job_events (
	job_number INTEGER NOT NULL,
	sequence INTEGER NOT NULL,
	event_json TEXT NOT NULL,
	CONSTRAINT pk_job_events PRIMARY KEY (job_number, sequence),
	CONSTRAINT fk_job_events_job_number FOREIGN KEY(job_number) REFERENCES jobs (number) ON DELETE CASCADE
);
CREATE TABLE audit (
	id INTEGER NOT NULL,
	time FLOAT NOT NULL,
	who VARCHAR(255) NOT NULL,
	what VARCHAR(64) NOT NULL,
	subject VARCHAR(255) NOT NULL,
	why TEXT NOT NULL, project VARCHAR(63),
	CONSTRAINT pk_audit PRIMARY KEY (id)
);
CREATE TABLE counters (
	name VARCHAR(64) NOT NULL,
	value INTEGER NOT NULL,
	CONSTRAINT pk_counters PRIMARY KEY (name)
);
CREATE TABLE remotes (
	endpoint VARCHAR(63) NOT NULL,
	route_json TEXT NOT NULL,
	created FLOAT NOT NULL, home VARCHAR(32), project VARCHAR(63) DEFAULT 'default' NOT NULL,
	CONSTRAINT pk_remotes PRIMARY KEY (endpoint)
);
CREATE TABLE marks (
	version_id INTEGER NOT NULL,
	mark VARCHAR(16) NOT NULL,
	time FLOAT NOT NULL,
	who VARCHAR(255) NOT NULL,
	why TEXT NOT NULL,
	until FLOAT,
	CONSTRAINT pk_marks PRIMARY KEY (version_id, mark),
	CONSTRAINT fk_marks_version_id FOREIGN KEY(version_id) REFERENCES versions (id) ON DELETE CASCADE
);
CREATE INDEX ix_marks_mark_until ON marks (mark, until);
CREATE TABLE aliases (
	model_id INTEGER NOT NULL,
	name VARCHAR(63) NOT NULL,
	version_id INTEGER NOT NULL,
	CONSTRAINT pk_aliases PRIMARY KEY (model_id, name),
	CONSTRAINT fk_aliases_model_id FOREIGN KEY(model_id) REFERENCES models (id) ON DELETE CASCADE,
	CONSTRAINT fk_aliases_version_id FOREIGN KEY(version_id) REFERENCES versions (id)
);
CREATE INDEX ix_aliases_version_id ON aliases (version_id);
CREATE TABLE alias_moves (
	id INTEGER NOT NULL,
	time FLOAT NOT NULL,
	model VARCHAR(63) NOT NULL,
	alias VARCHAR(63) NOT NULL,
	version INTEGER,
	former INTEGER,
	digest VARCHAR(64),
	who VARCHAR(255) NOT NULL,
	why TEXT NOT NULL,
	CONSTRAINT pk_alias_moves PRIMARY KEY (id)
);
CREATE INDEX ix_alias_moves_model_alias ON alias_moves (model, alias);
CREATE TABLE lineage (
	version_id INTEGER NOT NULL,
	parent_id INTEGER NOT NULL,
	relation VARCHAR(32) NOT NULL,
	tradeoff_json TEXT,
	time FLOAT NOT NULL,
	who VARCHAR(255) NOT NULL,
	CONSTRAINT pk_lineage PRIMARY KEY (version_id),
	CONSTRAINT fk_lineage_version_id FOREIGN KEY(version_id) REFERENCES versions (id) ON DELETE CASCADE,
	CONSTRAINT fk_lineage_parent_id FOREIGN KEY(parent_id) REFERENCES versions (id)
);
CREATE INDEX ix_lineage_parent_id ON lineage (parent_id);
CREATE TABLE readmes (
	version_id INTEGER NOT NULL,
	text TEXT NOT NULL,
	CONSTRAINT pk_readmes PRIMARY KEY (version_id),
	CONSTRAINT fk_readmes_version_id FOREIGN KEY(version_id) REFERENCES versions (id) ON DELETE CASCADE
);
CREATE TABLE cards (
	model_id INTEGER NOT NULL,
	card_json TEXT NOT NULL,
	changed FLOAT NOT NULL,
	who VARCHAR(255) NOT NULL,
	CONSTRAINT pk_cards PRIMARY KEY (model_id),
	CONSTRAINT fk_cards_model_id FOREIGN KEY(model_id) REFERENCES models (id) ON DELETE CASCADE
);
CREATE TABLE card_tags (
	model_id INTEGER NOT NULL,
	tag VARCHAR(64) NOT NULL,
	CONSTRAINT pk_card_tags PRIMARY KEY (model_id, tag),
	CONSTRAINT fk_card_tags_model_id FOREIGN KEY(model_id) REFERENCES models (id) ON DELETE CASCADE
);
CREATE INDEX ix_card_tags_tag_model_id ON card_tags (tag, model_id);
CREATE TABLE listings (
	version_id INTEGER NOT NULL,
	model_id INTEGER NOT NULL,
	model VARCHAR(63) NOT NULL,
	number INTEGER NOT NULL,
	latest BOOLEAN NOT NULL,
	deprecated BOOLEAN NOT NULL,
	deleted BOOLEAN NOT NULL,
	quarantined BOOLEAN NOT NULL,
	format VARCHAR(64) NOT NULL,
	adapter VARCHAR(64) NOT NULL,
	size BIGINT NOT NULL,
	parameters BIGINT NOT NULL,
	precision VARCHAR(32),
	architecture VARCHAR(200),
	task VARCHAR(64),
	category VARCHAR(64),
	licence VARCHAR(200),
	commercial BOOLEAN,
	CONSTRAINT pk_listings PRIMARY KEY (version_id),
	CONSTRAINT fk_listings_version_id FOREIGN KEY(version_id) REFERENCES versions (id) ON DELETE CASCADE
);
CREATE INDEX ix_listings_model_id ON listings (model_id);
CREATE INDEX ix_listings_model_version_id ON listings (model, version_id);
CREATE INDEX ix_listings_size_version_id ON listings (size, version_id);
CREATE INDEX ix_listings_parameters_version_id ON listings (parameters, version_id);
CREATE INDEX ix_listings_format ON listings (format);
CREATE INDEX ix_listings_precision ON listings (precision);
CREATE INDEX ix_listings_architecture ON listings (architecture);
CREATE INDEX ix_listings_task ON listings (task);
CREATE INDEX ix_listings_category ON listings (category);
CREATE INDEX ix_listings_licence ON listings (licence);
CREATE VIRTUAL TABLE listings_words USING fts5(words, tokenize='unicode61 remove_diacritics 0', prefix='2 3', detail=none, columnsize=0);
CREATE TRIGGER listings_unlisted AFTER DELETE ON listings BEGIN DELETE FROM listings_words WHERE rowid = old.version_id; END;
CREATE TABLE verdicts (
	sha256 VARCHAR(64) NOT NULL,
	scanner VARCHAR(32) NOT NULL,
	version VARCHAR(128) NOT NULL,
	verdict VARCHAR(16) NOT NULL,
	findings_json TEXT NOT NULL,
	more INTEGER NOT NULL,
	time FLOAT NOT NULL,
	CONSTRAINT pk_verdicts PRIMARY KEY (sha256, scanner)
);
CREATE TABLE packs (
	id INTEGER NOT NULL,
	"key" VARCHAR(128) NOT NULL,
	size BIGINT NOT NULL,
	created FLOAT NOT NULL,
	CONSTRAINT pk_packs PRIMARY KEY (id),
	CONSTRAINT uq_packs_key UNIQUE ("key")
);
CREATE TABLE pieces (
	id INTEGER NOT NULL,
	digest BLOB NOT NULL,
	pack_id INTEGER NOT NULL,
	"offset" BIGINT NOT NULL,
	stored INTEGER NOT NULL,
	size INTEGER NOT NULL,
	codec INTEGER NOT NULL,
	CONSTRAINT pk_pieces PRIMARY KEY (id),
	CONSTRAINT uq_pieces_digest UNIQUE (digest),
	CONSTRAINT fk_pieces_pack_id FOREIGN KEY(pack_id) REFERENCES packs (id)
);
CREATE INDEX ix_pieces_pack_id ON pieces (pack_id);
CREATE TABLE blobs (
	id INTEGER NOT NULL,
	digest BLOB NOT NULL,
	size BIGINT NOT NULL,
	whole BOOLEAN NOT NULL,
	pack_id INTEGER NOT NULL,
	created FLOAT NOT NULL,
	used FLOAT NOT NULL,
	CONSTRAINT pk_blobs PRIMARY KEY (id),
	CONSTRAINT uq_blobs_digest UNIQUE (digest),
	CONSTRAINT fk_blobs_pack_id FOREIGN KEY(pack_id) REFERENCES packs (id)
);
CREATE INDEX ix_blobs_pack_id ON blobs (pack_id);
CREATE TABLE blob_pieces (
	blob_id INTEGER NOT NULL,
	sequence INTEGER NOT NULL,
	piece_id INTEGER NOT NULL,
	CONSTRAINT pk_blob_pieces PRIMARY KEY (blob_id, sequence),
	CONSTRAINT fk_blob_pieces_blob_id FOREIGN KEY(blob_id) REFERENCES blobs (id) ON DELETE CASCADE,
	CONSTRAINT fk_blob_pieces_piece_id FOREIGN KEY(piece_id) REFERENCES pieces (id)
);
CREATE INDEX ix_blob_pieces_piece_id ON blob_pieces (piece_id);
CREATE TABLE homes (
	id VARCHAR(32) NOT NULL,
	host VARCHAR(255) NOT NULL,
	url TEXT,
	node_url TEXT,
	created FLOAT NOT NULL,
	seen FLOAT NOT NULL,
	CONSTRAINT pk_homes PRIMARY KEY (id)
);
CREATE TABLE provenance (
	id INTEGER NOT NULL,
	version_id INTEGER NOT NULL,
	"key" VARCHAR(64) NOT NULL,
	digest VARCHAR(64) NOT NULL,
	arrival_json TEXT NOT NULL,
	first FLOAT NOT NULL,
	last FLOAT NOT NULL,
	CONSTRAINT pk_provenance PRIMARY KEY (id),
	CONSTRAINT fk_provenance_version_id FOREIGN KEY(version_id) REFERENCES versions (id) ON DELETE CASCADE,
	CONSTRAINT uq_provenance_version_id_key UNIQUE (version_id, "key")
);
CREATE TABLE signatures (
	id INTEGER NOT NULL,
	version_id INTEGER NOT NULL,
	digest VARCHAR(64) NOT NULL,
	bundle TEXT NOT NULL,
	place VARCHAR(1024) NOT NULL,
	who VARCHAR(255) NOT NULL,
	created FLOAT NOT NULL,
	CONSTRAINT pk_signatures PRIMARY KEY (id),
	CONSTRAINT fk_signatures_version_id FOREIGN KEY(version_id) REFERENCES versions (id) ON DELETE CASCADE,
	CONSTRAINT uq_signatures_version_id_digest UNIQUE (version_id, digest)
);
CREATE TABLE projects (
	name VARCHAR(63) NOT NULL,
	created FLOAT NOT NULL,
	who VARCHAR(255) NOT NULL,
	CONSTRAINT pk_projects PRIMARY KEY (name)
);
CREATE TABLE api_keys (
	id VARCHAR(16) NOT NULL,
	name VARCHAR(63) NOT NULL,
	digest VARCHAR(64) NOT NULL,
	project VARCHAR(63),
	role VARCHAR(16) NOT NULL,
	endpoints_json TEXT NOT NULL,
	created FLOAT NOT NULL,
	who VARCHAR(255) NOT NULL,
	expires FLOAT,
	used FLOAT,
	revoked FLOAT,
	CONSTRAINT pk_api_keys PRIMARY KEY (id),
	CONSTRAINT uq_api_keys_name UNIQUE (name),
	CONSTRAINT uq_api_keys_digest UNIQUE (digest)
);
CREATE INDEX ix_models_project ON models (project);
CREATE INDEX ix_audit_project ON audit (project);
CREATE TABLE upload_blobs (
	upload_id VARCHAR(32) NOT NULL,
	sha256 VARCHAR(64) NOT NULL,
	CONSTRAINT pk_upload_blobs PRIMARY KEY (upload_id, sha256),
	CONSTRAINT fk_upload_blobs_upload_id FOREIGN KEY(upload_id) REFERENCES uploads (id) ON DELETE CASCADE
);
CREATE TABLE version_blobs (
	version_id INTEGER NOT NULL,
	digest BLOB NOT NULL,
	CONSTRAINT pk_version_blobs PRIMARY KEY (version_id, digest),
	CONSTRAINT fk_version_blobs_version_id FOREIGN KEY(version_id) REFERENCES versions (id) ON DELETE CASCADE
);
CREATE INDEX ix_version_blobs_digest ON version_blobs (digest);
CREATE TABLE whereabouts (
	id INTEGER NOT NULL,
	place TEXT NOT NULL,
	CONSTRAINT pk_whereabouts PRIMARY KEY (id)
);
CREATE TABLE blob_checks (
	digest BLOB NOT NULL,
	checked FLOAT NOT NULL,
	trouble_json TEXT,
	CONSTRAINT pk_blob_checks PRIMARY KEY (digest)
);
CREATE TABLE lockfiles (
	environment VARCHAR(64) NOT NULL,
	kept FLOAT NOT NULL,
	lockfile_json TEXT NOT NULL,
	CONSTRAINT pk_lockfiles PRIMARY KEY (environment)
);
CREATE TABLE version_metrics (
	version_id INTEGER NOT NULL,
	tables_json TEXT NOT NULL,
	CONSTRAINT pk_version_metrics PRIMARY KEY (version_id),
	CONSTRAINT fk_version_metrics_version_id FOREIGN KEY(version_id) REFERENCES versions (id) ON DELETE CASCADE
);
CREATE TABLE figures (
	version_id INTEGER NOT NULL,
	name VARCHAR(100) NOT NULL,
	data VARCHAR(100) NOT NULL,
	value FLOAT NOT NULL,
	highest BOOLEAN NOT NULL,
	lowest BOOLEAN NOT NULL,
	CONSTRAINT pk_figures PRIMARY KEY (version_id, name, data),
	CONSTRAINT fk_figures_version_id FOREIGN KEY(version_id) REFERENCES versions (id) ON DELETE CASCADE
);
CREATE INDEX ix_figures_name_value ON figures (name, value, version_id);
CREATE INDEX ix_figures_name_data_value ON figures (name, data, value, version_id);
INSERT INTO "alembic_version" VALUES ('0013');
INSERT INTO "counters" VALUES ('generation', 0);
