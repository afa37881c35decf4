"""Databases and message brokers: overloaded or failing over is the network, bad input the request's."""

from __future__ import annotations

from holdfast.system.classification.answer import verdict
from holdfast.system.classification.rule import Rule

WAIT = verdict("network, low, transient, wait_and_retry")
WAIT_MEDIUM = verdict("network, medium, transient, wait_and_retry")
AGAIN = verdict("network, low, transient, retry")
AGAIN_MEDIUM = verdict("network, medium, transient, retry")
CREDENTIALS = verdict("validation, high, lasting, fix_request")
BAD = verdict("validation, medium, lasting, fix_request")
DISK = verdict("system, critical, lasting, none")

RULES = (
    Rule("Redis cannot save its data to disk", DISK, says=("misconf", "unable to persist on disk", "aof persistence is failing")),
    Rule("wrong credentials for a database", CREDENTIALS,
         says=("password authentication failed", "noauth", "wrongpass", "invalid password", "invalid username password pair",
               "access denied for user", "no pg hba conf entry", "authentication required", "authentication failed", "role .. does not exist",
               "noperm", "client sent auth but no password is set", "auth called without any password", "no password supplied",
               "peer authentication failed", "ident authentication failed", "@authenticationerror .. @from:redis", "#sql28p01", "#sql28000",
               "permission denied for table", "permission denied for relation", "permission denied for schema", "permission denied for database",
               "not authorized on", "scram authentication", "login failed for user", "#errno1045", "not allowed to connect to this",
               "database .. does not exist", "#sql3d000", "#sql42501", "unknown database", "#winerror1045", "#winerror1049", "#winerror1044",
               "#winerror18456"),
         unless=("#http401", "#http407", "proxy", "model")),
    Rule("the database has too many clients", WAIT_MEDIUM,
         says=("too many clients already", "too many connections", "remaining connection slots", "max number of clients reached",
               "connection slots are reserved", "queue pool limit of size", "maxclients", "max client conn", "no more connections allowed",
               "max user connections", "#sql53300", "connection pool exhausted", "connection pool is full", "pool is exhausted",
               "could not get a connection from the pool", "no connection available", "couldn't get a connection after", "pool timeout",
               "too many connections for role", "sorry too many clients", "#winerror1040", "#winerror1203", "connection pool timeout")),
    Rule("the database is failing over, starting or shutting down", WAIT_MEDIUM,
         says=("can't write against a read only", "cannot write against a read only", "against a read only replica", "against a read only slave",
               "read only replica", "@readonlyerror", "readonly you", "database system is starting up", "database system is shutting down",
               "in recovery mode", "not yet accepting connections", "read only transaction", "clusterdown", "cluster is down", "masterdown",
               "@clusterdownerror", "@masterdownerror", "@mastersnotfounderror", "no master found", "@masternotfounderror", "@slavenotfounderror",
               "link with master is down", "busy redis is busy running a script", "not master", "not primary", "primary stepped down",
               "@notprimaryerror", "node is recovering", "#sql57p03", "#sql25006", "#sql57p01", "read only option", "@autoreconnect", "hot standby",
               "replica set", "terminating connection due to administrator command", "terminating connection due to crash", "unblocked",
               "force unblock as instance state changed", "tryagain", "failover", "standby mode", "leader not available", "noreplicas",
               "@leadernotavailableerror", "not leader for partition", "super read only", "database is starting up", "no reachable servers",
               "#winerror1290", "moved", "slots not covered", "@clustererror"),
         unless=("permanently moved", "moved permanently", "http", "object has moved")),
    Rule("the database is still loading its data", WAIT, says=("@busyloadingerror", "loading redis", "busyloading*", "loading dragonfly")),
    Rule("transactions got in each other's way", AGAIN,
         says=("deadlock detected", "deadlock found", "could not serialize access", "lock wait timeout exceeded", "restart transaction",
               "try restarting transaction", "serialization failure", "@deadlockdetected", "@serializationfailure", "#sql40p01", "#sql40001",
               "chosen as the deadlock victim", "write conflict", "lock timeout", "#sql55p03", "@locknotavailable", "could not obtain lock",
               "watched variable changed", "@watcherror", "@lockerror", "canceling statement due to lock timeout", "#winerror1205", "#winerror1213",
               "conflict with recovery")),
    Rule("the database took too long or broke the connection off", AGAIN_MEDIUM,
         says=("statement timeout", "canceling statement due to", "server closed the connection unexpectedly", "mysql server has gone away",
               "lost connection to mysql", "connection already closed", "connection closed by server", "terminating connection due to",
               "ssl connection has been closed unexpectedly", "server conn crashed", "consuming input failed", "the connection is lost",
               "connection was closed in the middle of operation", "@connectiondoesnotexisterror", "idle in transaction", "max execution time",
               "#winerror2006", "#winerror2013", "#winerror2055", "#sql57014", "@querycanceled", "query execution was interrupted",
               "connection not available", "could not receive data from server", "could not send data to server", "@interfaceerror .. closed",
               "connection is closed .. @interfaceerror", "cursor already closed", "connection is lost", "server terminated abnormally",
               "closed the connection", "this connection is closed", "packet sequence number wrong")),
    Rule("the database refuses what it was given", BAD,
         says=("duplicate key value", "unique constraint", "violates foreign key", "violates not null", "violates check constraint",
               "null value in column", "syntax error at or near", "relation .. does not exist", "column .. does not exist", "value too long for type",
               "invalid input syntax", "no such table", "no such column", "unknown command", "wrong number of arguments for", "wrongtype",
               "value is not an integer or out of range", "err syntax error", "near .. syntax error", "foreign key constraint", "not null constraint",
               "duplicate entry", "unknown column", "you have an error in your sql syntax", "datatype mismatch", "@integrityerror", "@uniqueviolation",
               "@dataerror", "@undefinedtable", "@undefinedcolumn", "crossslot", "noscript", "execabort", "nogroup", "busygroup", "busykey",
               "numeric value out of range", "incorrect integer value", "data too long for column", "table .. doesn't exist", "table .. does not exist",
               "out of range value for column", "invalid byte sequence for encoding", "division by zero .. psycopg*", "invalid expire time",
               "value is not a valid float", "index out of range .. redis", "check constraint", "incorrect number of bindings", "invalid input of type",
               "e11000", "@programmingerror", "has no column named", "parameter was not supplied", "@undefinedfunction", "does not exist .. sql",
               "too many sql variables", "constraint failed", "max allowed packet", "document too large", "bson")),
)
