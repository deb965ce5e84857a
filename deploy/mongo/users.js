// The services' account: it may read and write its own database, and nothing else.
db.getSiblingDB("shotwatch").createUser({
  user: "shotwatch",
  pwd: process.env.DATABASE_PASSWORD,
  roles: [{ role: "readWrite", db: "shotwatch" }],
});
