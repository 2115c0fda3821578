-- Who accepts from now on what such an integration shares agrees to nothing else.
ALTER TABLE integrations ADD COLUMN binding boolean NOT NULL DEFAULT false;
