(** The natural logarithm, as the inverse of [exp]. Coq's own [ln] rests on the axiom of excluded
    middle beside those of the real numbers; this one does not. *)
From Coq Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
From BNBlind Require Import Basics Calculus.
Open Scope R_scope.

(** * The tangent of [exp] at 0 *)

Lemma exp_series x : infinite_sum (fun i => / INR (fact i) * x ^ i) (exp x).
Proof. unfold exp. destruct (exist_exp x) as [l Hl]. exact Hl. Qed.

Lemma exp_ge_nonneg h : 0 <= h -> 1 + h <= exp h.
Proof.
  intros Hh. replace (1 + h) with (sum_f_R0 (fun i => / INR (fact i) * h ^ i) 1)
    by (simpl; field).
  apply sum_incr; [exact (exp_series h)|]. intros i.
  apply Rmult_le_pos; [apply Rlt_le, Rinv_0_lt_compat, INR_fact_lt_0 | now apply pow_le].
Qed.

(** The series of exp lies below the geometric one. *)
Lemma exp_le_geometric v : 0 <= v < 1 -> exp v <= / (1 - v).
Proof.
  intros Hv. assert (Cv : Un_cv (sum_f_R0 (fun i => / INR (fact i) * v ^ i)) (exp v))
    by exact (exp_series v).
  apply Rnot_lt_le. intros N. destruct (Cv (exp v - / (1 - v))) as [m Hm]; [lra|].
  specialize (Hm m (le_n m)).
  assert (A : sum_f_R0 (fun i => / INR (fact i) * v ^ i) m <= / (1 - v)).
  { apply Rle_trans with (sum_f_R0 (fun i => v ^ i) m).
    - apply sum_Rle. intros i _. rewrite <- (Rmult_1_l (v ^ i)) at 2.
      apply Rmult_le_compat_r; [apply pow_le; lra|].
      rewrite <- Rinv_1. apply Rinv_le_contravar; [lra|].
      apply (le_INR 1). apply lt_le_S, lt_O_fact.
    - rewrite tech3 by lra. rewrite <- (Rmult_1_l (/ (1 - v))). unfold Rdiv.
      apply Rmult_le_compat_r; [apply Rlt_le, Rinv_0_lt_compat; lra|].
      assert (P := pow_le v (S m)). lra. }
  unfold R_dist in Hm. rewrite Rabs_left1 in Hm by lra. lra.
Qed.

Lemma exp_neg x : exp x * exp (- x) = 1.
Proof. rewrite <- exp_plus, Rplus_opp_r. apply exp_0. Qed.

Lemma exp_ge u : 1 + u <= exp u.
Proof.
  destruct (Rle_lt_dec 0 u) as [H|H]; [now apply exp_ge_nonneg|].
  assert (P := exp_pos u). destruct (Rle_lt_dec u (-1)) as [H1|H1]; [lra|].
  assert (A : exp (- u) <= / (1 - - u)) by (apply exp_le_geometric; lra).
  assert (E := exp_neg u). apply (Rmult_le_compat_l (exp u)) in A; [|lra]. rewrite E in A.
  apply (Rmult_le_compat_r (1 + u)) in A; [|lra].
  replace (exp u * / (1 - - u) * (1 + u)) with (exp u) in A by (field; lra). lra.
Qed.

Lemma exp_lt x y : x < y -> exp x < exp y.
Proof.
  intros H. assert (P := exp_pos x). assert (A := exp_ge (y - x)).
  replace (exp y) with (exp x * exp (y - x)) by (rewrite <- exp_plus; f_equal; ring).
  apply (Rmult_le_compat_l (exp x)) in A; [|lra].
  assert (B := Rmult_lt_0_compat (exp x) (y - x) P). lra.
Qed.

Lemma exp_le_inv x y : exp x <= exp y -> x <= y.
Proof. intros H. apply Rnot_lt_le. intros N. apply exp_lt in N. lra. Qed.

(** * The logarithm *)

Lemma log_exists y : 0 < y -> {x | exp x = y}.
Proof.
  intros Hy. assert (Hi : 0 < / y) by now apply Rinv_0_lt_compat.
  destruct (IVT_cor (fun x => exp x - y) (- / y) y) as [x [_ Hx]].
  - apply continuity_minus; [apply derivable_continuous, derivable_exp|].
    apply continuity_const. intros a b. reflexivity.
  - lra.
  - assert (A := exp_ge (/ y)). assert (B := exp_ge y). assert (E := exp_neg (/ y)).
    assert (P := exp_pos (- / y)).
    assert (C : exp (- / y) <= y).
    { apply (Rmult_le_compat_r (exp (- / y))) in A; [|lra]. rewrite E in A.
      assert (D : / y * exp (- / y) <= 1) by lra.
      apply (Rmult_le_compat_l y) in D; [|lra].
      replace (y * (/ y * exp (- / y))) with (exp (- / y)) in D by (field; lra). lra. }
    assert (F := Rmult_le_pos (y - exp (- / y)) (exp y - y)). lra.
  - exists x. lra.
Qed.

(** Outside the positive numbers it means nothing. *)
Definition log (y : R) : R :=
  match Rlt_dec 0 y with
  | left positive => proj1_sig (log_exists y positive)
  | right _ => 0
  end.

Lemma exp_log y : 0 < y -> exp (log y) = y.
Proof.
  intros H. unfold log. destruct (Rlt_dec 0 y) as [P|N]; [|contradiction].
  apply (proj2_sig (log_exists y P)).
Qed.

Lemma log_unique x y : exp x = y -> log y = x.
Proof.
  intros E. assert (P := exp_pos x). assert (L : exp (log y) = exp x)
    by (rewrite exp_log; [auto | lra]).
  apply Rle_antisym; apply exp_le_inv; lra.
Qed.

Lemma log_exp x : log (exp x) = x.
Proof. now apply log_unique. Qed.

Lemma log_mult x y : 0 < x -> 0 < y -> log (x * y) = log x + log y.
Proof. intros Hx Hy. apply log_unique. now rewrite exp_plus, !exp_log. Qed.

Lemma log_inv x : 0 < x -> log (/ x) = - log x.
Proof.
  intros Hx. apply log_unique. assert (E := exp_neg (log x)). rewrite exp_log in E by assumption.
  apply (Rmult_eq_reg_l x); [|lra]. rewrite E. field. lra.
Qed.

Lemma log_le x y : 0 < x -> x <= y -> log x <= log y.
Proof. intros Hx H. apply exp_le_inv. rewrite !exp_log; lra. Qed.

Lemma log_lt x y : 0 < x -> x < y -> log x < log y.
Proof.
  intros Hx H. apply Rnot_le_lt. intros N. destruct N as [N|N].
  - apply exp_lt in N. rewrite !exp_log in N; lra.
  - apply (f_equal exp) in N. rewrite !exp_log in N; lra.
Qed.

(** s / (1 + s) <= log (1 + s) <= s. *)
Lemma log_bounds s : -1 < s -> - (s ^ 2 / (1 + s)) <= log (1 + s) - s <= 0.
Proof.
  intros Hs. split.
  - assert (A := exp_ge (- log (1 + s))).
    assert (E : exp (- log (1 + s)) = / (1 + s)).
    { rewrite <- log_inv by lra. apply exp_log, Rinv_0_lt_compat. lra. }
    rewrite E in A. replace (s ^ 2 / (1 + s)) with (s - 1 + / (1 + s)) by (field; lra). lra.
  - assert (A := exp_ge (log (1 + s))). rewrite exp_log in A by lra. lra.
Qed.

Lemma is_derive_log y : 0 < y -> is_derive log y (/ y).
Proof.
  intros Hy. apply bound_is_derive. intros e He.
  exists (Rmin (y / 2) (e * y ^ 2 / 2)).
  assert (Hy2 : 0 < y ^ 2) by now apply pow_lt.
  assert (He2 : 0 < e * y ^ 2) by now apply Rmult_lt_0_compat.
  split; [apply Rmin_pos; lra|]. intros h Hh.
  assert (H1 : Rabs h < y / 2) by (eapply Rlt_le_trans; [exact Hh | apply Rmin_l]).
  assert (H2 : Rabs h < e * y ^ 2 / 2) by (eapply Rlt_le_trans; [exact Hh | apply Rmin_r]).
  apply Rabs_def2 in H1. set (s := h / y).
  assert (Hsy : s * y = h) by (unfold s; field; lra).
  assert (Hs : - / 2 < s).
  { apply (Rmult_lt_reg_r y); [assumption|]. rewrite Hsy. lra. }
  replace (y + h) with (y * (1 + s)) by (rewrite <- Hsy; ring).
  rewrite log_mult by lra.
  replace (log y + log (1 + s) - log y - / y * h) with (log (1 + s) - s)
    by (unfold s; field; lra).
  destruct (log_bounds s) as [A B]; [lra|].
  rewrite Rabs_left1 by assumption.
  apply Rle_trans with (s ^ 2 / (1 + s)); [lra|].
  apply Rle_trans with (2 * s ^ 2).
  - apply (Rmult_le_reg_r (1 + s)); [lra|].
    replace (s ^ 2 / (1 + s) * (1 + s)) with (s ^ 2) by (field; lra).
    assert (P := pow2_ge_0 s). assert (Q := Rmult_le_pos (s ^ 2) (2 * (1 + s) - 1) P). lra.
  - rewrite <- (pow2_abs s). unfold s, Rdiv. rewrite Rabs_mult, Rabs_inv, (Rabs_right y) by lra.
    apply Rlt_le in H2. apply (Rmult_le_compat_l (Rabs h)) in H2; [|apply Rabs_pos].
    apply (Rmult_le_reg_r (y ^ 2)); [assumption|].
    replace (2 * (Rabs h * / y) ^ 2 * y ^ 2) with (2 * (Rabs h * Rabs h)) by (field; lra). lra.
Qed.
