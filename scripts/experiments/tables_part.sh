#!/usr/bin/env bash
# One of several processes that make the tables of the drawn world together, on one thread each:
#
#     for i in $(seq 12); do bash scripts/experiments/tables_part.sh $i 12 PARTS & done; wait
#     python -m scripts.experiments.field --join PARTS && python -m int_bench.zoo.report --only int
#
# Part I of N writes to PARTS/I. Stopped at any moment it goes on where it was; what no part has
# done is computed when all is joined. Further options go to scripts.experiments.field.
set -euo pipefail
index=$1 number=$2 parts=$3
shift 3
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 CUDA_VISIBLE_DEVICES=""
exec "${PYTHON:-python3}" -m scripts.experiments.field \
    --part "$index/$number" --runs "$parts/$(printf '%02d' "$index")" "$@"
