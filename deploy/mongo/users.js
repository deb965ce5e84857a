// The services' account: it may read and write its own database, and nothing else.
db.getSiblingDB("shotwatch").createUser({
  user: "shotwatch",
  pwd: require("fs").readFileSync("/run/secrets/database-password", "utf8"),
  roles: [{ role: "readWrite", db: "shotwatch" }],
});
