package meta

// FreshTables is how many tables wait to be merged.
func (db *DB) FreshTables() int { return db.badger.Levels()[0].NumTables }
