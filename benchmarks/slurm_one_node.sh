#!/usr/bin/env bash
# A SLURM of one node with accounting on this machine, without systemd, to try the slurm profile on:
#   benchmarks/slurm_one_node.sh start|stop [STATE_DIR]
# Needs root and Debian's or Ubuntu's packages:
#   apt-get install --no-install-recommends slurm-wlm slurmdbd mariadb-server munge
# It writes /etc/slurm; use it on a throw-away machine or in a container, never on a node of a real cluster.
set -euo pipefail
state=${2:-${TMPDIR:-/tmp}/slurm-one-node}
host=$(hostname -s)
socket=$state/mysql.sock

until_true() { # until_true SECONDS COMMAND...
  local left=$(($1 * 5))
  shift
  until "$@" >/dev/null 2>&1; do
    left=$((left - 1))
    [ "$left" -gt 0 ] || { echo "not ready in time: $*; logs are in $state/log" >&2; return 1; }
    sleep 0.2
  done
}

idle() { [ "$(timeout 5 sinfo -h -o %T)" = idle ]; }

configure() {
  mkdir -p "$state"/{log,spool,ctld} /etc/slurm
  cat > /etc/slurm/slurm.conf <<C
ClusterName=onenode
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/spool
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.pid
SlurmctldLogFile=$state/log/slurmctld.log
SlurmdLogFile=$state/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
MinJobAge=300
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$(awk '/MemTotal/{print int($2/1024*0.8)}' /proc/meminfo) State=UNKNOWN
PartitionName=main Nodes=$host Default=YES DefaultTime=60 MaxTime=INFINITE State=UP
C
  cat > /etc/slurm/slurmdbd.conf <<C
AuthType=auth/munge
DbdHost=$host
DbdAddr=127.0.0.1
SlurmUser=root
PidFile=$state/slurmdbd.pid
LogFile=$state/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageUser=root
C
  chmod 600 /etc/slurm/slurmdbd.conf
  echo "CgroupAutomount=no" > /etc/slurm/cgroup.conf
}

start() {
  configure
  install -d -o munge -g munge -m 755 /run/munge /var/lib/munge /var/log/munge
  [ -f /etc/munge/munge.key ] || install -m 400 -o munge -g munge <(head -c 1024 /dev/urandom) /etc/munge/munge.key
  munge -n </dev/null >/dev/null 2>&1 || runuser -u munge -- /usr/sbin/munged
  until_true 10 munge -n </dev/null
  # A database of its own, reached through a socket that only root sees.
  if [ ! -d "$state/mysql/mysql" ]; then
    mariadb-install-db --no-defaults --user=root --datadir="$state/mysql" --auth-root-authentication-method=normal \
      --skip-test-db > "$state/log/mysql-install.log" 2>&1
  fi
  mariadbd --no-defaults --user=root --datadir="$state/mysql" --socket="$socket" --pid-file="$state/mysql.pid" \
    --skip-networking --innodb-buffer-pool-size=64M --innodb-lock-wait-timeout=900 > "$state/log/mysql.log" 2>&1 &
  until_true 60 mariadb-admin --no-defaults --socket="$socket" ping
  MYSQL_UNIX_PORT=$socket slurmdbd
  until_true 60 sacctmgr -n list cluster
  sacctmgr -i add cluster onenode > /dev/null 2>&1 || true
  sacctmgr -i add account study Description=study Organization=study > /dev/null 2>&1 || true
  sacctmgr -i add user "$(id -un)" Account=study DefaultAccount=study > /dev/null 2>&1 || true
  slurmctld
  slurmd
  until_true 60 idle
  sinfo
  echo "$state" > /etc/slurm/one-node-state
}

stop() {
  for daemon in slurmd slurmctld slurmdbd mysql; do
    if [ -f "$state/$daemon.pid" ]; then kill "$(cat "$state/$daemon.pid")" 2>/dev/null || true; fi
  done
}

case ${1:-} in start) start ;; stop) stop ;; *) echo "usage: $0 start|stop [STATE_DIR]" >&2; exit 2 ;; esac
