# gradflow on a CPU, from the lock with its hashes. Results stay in a folder of the host:
#   docker build -t gradflow .
#   docker run --rm -v "$PWD/results:/results" gradflow check razin2020.thm1
FROM python:3.13-slim

WORKDIR /opt/gradflow
COPY requirements/base.txt requirements/data.txt requirements/
RUN python -m pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: -r requirements/base.txt \
 && python -m pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: -r requirements/data.txt
COPY gradflow gradflow
COPY theory_checks theory_checks
COPY experiments experiments
ENV PYTHONPATH=/opt/gradflow GRADFLOW_HOME=/results OPENBLAS_NUM_THREADS=1
WORKDIR /results
ENTRYPOINT ["python", "-m", "gradflow"]
CMD ["--help"]
